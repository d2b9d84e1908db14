"""Integer logarithm for kernels."""

from detectors.jit import i64, inner
from detectors.tables import LOG2


@inner
def log2(k: int) -> int:
    """2^16 * log2 k for int64 k >= 1: the table, and shifts where k is larger."""
    shift = 0
    while k >= 1 << 29:
        k >>= 16
        shift += 16
    while k >= 8192:
        if k >= 1 << 20:
            k >>= 8
            shift += 8
        elif k >= 1 << 16:
            k >>= 4
            shift += 4
        else:
            k >>= 1
            shift += 1
    return i64(LOG2[k] + (shift << 16))
