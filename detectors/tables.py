"""Integer logarithms: the committed table of round(2^16 * log2 k) and powers of 2^(1/32), checked by hash.

Scores are int64 in units of 2^-16 bit. Nothing here uses a float, so every CPU and numpy gives the same numbers.
"""

import hashlib
from math import isqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BIT = 1 << 16
"""Units of a score in one bit."""
ENTRIES = 8192
"""Entries of the table; a larger k is looked up by its 13 leading bits (error at most 3.6e-4 bit)."""
FILE = Path(__file__).with_name("log2.i32")
SHA256 = "32c85e7afcd59130bd5b02b78d92ce85a9eda7feba8de2032ef8ca2e4d109d5c"  # pragma: allowlist secret


def exact_log2(k: int) -> int:
    """round(2^16 * log2 k) for k >= 1 by repeated squaring of exact integers."""
    precision = 96
    whole = k.bit_length() - 1
    mantissa = (k << precision) >> whole if whole else k << precision
    result = whole
    for _ in range(17):
        mantissa = (mantissa * mantissa) >> precision
        carry = mantissa >> (precision + 1)
        mantissa >>= carry
        result = 2 * result + carry
    return (result + 1) >> 1


def exact_powers() -> NDArray[np.int64]:
    """round(2^16 * 2^(j / 32)), int64[32], by nested integer square roots."""
    values = []
    for j in range(32):
        root = 1 << (j + 32 * 64)
        for _ in range(5):
            root = isqrt(root)
        values.append(((root >> 47) + 1) >> 1)
    return np.array(values, np.int64)


def table() -> bytes:
    """The bytes of the table's file, as it is committed: int32 little-endian, entry 0 is 0."""
    return np.array([0] + [exact_log2(k) for k in range(1, ENTRIES)], "<i4").tobytes()


def read() -> NDArray[np.int64]:
    """The committed table, int64[8192]; entry 0 is 0. RuntimeError if the file is not the committed one."""
    data = FILE.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise RuntimeError(f"{FILE.name} is not the table this release was built with: reinstall driftlock")
    return np.frombuffer(data, "<i4").astype(np.int64)


LOG2 = read()
POWERS = exact_powers()
