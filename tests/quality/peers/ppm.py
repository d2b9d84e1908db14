"""Prediction by partial matching over bytes (escape method C, Moffat, 1990; orders 4 to 0): bits a byte of an event."""

from collections.abc import Callable

import numpy as np
from numba import njit  # type: ignore[import-untyped, unused-ignore]
from numpy.typing import NDArray

from tests.quality.peers.features import text

ORDERS, SYMBOLS, CONTEXTS = 5, 1 << 20, 1 << 18


@njit(cache=True)  # type: ignore[misc, untyped-decorator, unused-ignore]
def _bits(
    data: NDArray[np.uint8], counts: NDArray[np.uint16], totals: NDArray[np.uint32], kinds: NDArray[np.uint16]
) -> float:
    """Bits of one event, learned byte by byte; counts [ORDERS, SYMBOLS] by hash of context and byte."""
    bits = 0.0
    hashes = np.zeros(ORDERS, np.uint64)
    for i in range(len(data)):
        byte = np.uint64(data[i])
        hashed = np.uint64(1469598103934665603)
        for order in range(ORDERS):
            hashes[order] = hashed
            if i - order - 1 >= 0:
                hashed = (hashed ^ np.uint64(data[i - order - 1] + 1)) * np.uint64(1099511628211)
            else:
                hashed = (hashed ^ np.uint64(257)) * np.uint64(1099511628211)
        coded = False
        for back in range(ORDERS):
            order = ORDERS - 1 - back
            context = (hashes[order] >> np.uint64(13)) & np.uint64(CONTEXTS - 1)
            mixed = (hashes[order] ^ (byte + np.uint64(1))) * np.uint64(0x9E3779B97F4A7C15)
            symbol = (mixed >> np.uint64(40)) & np.uint64(SYMBOLS - 1)
            seen, total, distinct = counts[order, symbol], totals[order, context], kinds[order, context]
            escape = max(1, distinct)  # a collision of symbols can leave a context without any
            if not coded and total > 0:
                if seen > 0:
                    bits -= np.log2(min(1.0, seen / (total + escape)))
                    coded = True
                else:
                    bits -= np.log2(escape / (total + escape))
            if seen == 0:
                kinds[order, context] = distinct + 1
            if seen < 65535:
                counts[order, symbol] = seen + 1
                totals[order, context] = total + 1
        if not coded:
            bits += 8.0
    return bits


def ppm() -> Callable[[object], float]:
    """A scorer of one series."""
    counts, totals = np.zeros((ORDERS, SYMBOLS), np.uint16), np.zeros((ORDERS, CONTEXTS), np.uint32)
    kinds = np.zeros((ORDERS, CONTEXTS), np.uint16)

    def score(event: object) -> float:
        data = np.frombuffer(text(event).encode("utf-8", "replace"), np.uint8)
        return float(_bits(data, counts, totals, kinds)) / max(1, len(data))

    return score
