"""zstd: bytes of an event compressed with the last 64 KiB of its series as dictionary, over its length, as a z-score."""

from collections import deque
from collections.abc import Callable

import zstandard

from tests.quality.peers.features import text

CONTEXT, EVERY = 64 << 10, 100


def zstd_ratio() -> Callable[[object], float]:
    """A scorer of one series. The dictionary is made anew every EVERY events; mean and spread follow by 1/500."""
    past: deque[bytes] = deque()
    held, n, mean, spread = 0, 0, 0.0, 0.05
    compressor = zstandard.ZstdCompressor(level=3)

    def score(event: object) -> float:
        nonlocal held, n, mean, spread, compressor
        data = text(event).encode("utf-8", "replace")[:CONTEXT] or b"\n"
        value = len(compressor.compress(data)) / len(data)
        z = (value - mean) / max(spread, 1e-6) if n > 50 else 0.0
        rate = max(1 / 500, 1 / (n + 1))
        mean += rate * (value - mean)
        spread += rate * (abs(value - mean) - spread)
        n += 1
        past.append(data)
        held += len(data)
        while held > CONTEXT:
            held -= len(past.popleft())
        if n % EVERY == 0:
            raw = zstandard.ZstdCompressionDict(b"\n".join(past), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
            compressor = zstandard.ZstdCompressor(level=3, dict_data=raw, write_content_size=False)
        return z

    return score
