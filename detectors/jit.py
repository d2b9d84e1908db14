"""The one way kernels are compiled: numba, integers only, no global interpreter lock, typed for mypy.

`inner` functions are compiled into the entry kernels that call them and are not cached on their own; only entries are cached
on disk. An entry names `SOURCES`, a hash of all modules that kernels come from, in its closure, because numba's cache sees changes
in the entry's own file only.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., object])
# Elements of these arrays count as plain integers for mypy; the names say what they are.
Longs = NDArray[Any]  # int64
Ints = NDArray[Any]  # int32
Shorts = NDArray[Any]  # uint16
Indexes = NDArray[Any]  # int16
Bytes = NDArray[Any]  # uint8
Hashes = NDArray[Any]  # uint64
if TYPE_CHECKING:
    i64 = int
else:
    i64 = np.int64  # what is read from a narrower array becomes this before it is reckoned with


_OUTSIDE = {"__init__.py", "detector.py", "evidence.py", "feedback.py", "quantities.py", "standing.py", "state.py"}
_KERNELS = [p for p in sorted(Path(__file__).parent.glob("*.py")) if p.name not in _OUTSIDE]
SOURCES = int.from_bytes(hashlib.sha256(b"".join(p.read_bytes() for p in _KERNELS)).digest()[:6], "big")


def inner(function: F) -> F:
    """A function for use inside entry kernels."""
    return cast("F", numba.njit(nogil=True)(function))


def entry(function: F) -> F:
    """A kernel that Python calls; its machine code is cached on disk."""
    return cast("F", numba.njit(nogil=True, cache=True)(function))
