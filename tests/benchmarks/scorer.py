"""The detector alone, and its peer: zstd level 3 over the same lines one by one. No Kafka.

`python -m tests.benchmarks.scorer WAY COUNT WARM CPU` prints {"events", "cpu"}; WAY is `detector` (blocks of 1,000 lines of
one stream through `detectors.detector.score`) or `zstd`. What is timed begins after `warm` lines and goes round the lines
again until `cpu` seconds are used.
"""

import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle

import numpy as np
import zstandard

from detectors.detector import Controls, Events, new_state, score, warm_up
from tests.benchmarks.lines import lines

BLOCK = 1_000


def detector(bodies: list[bytes]) -> Iterator[int]:
    """Score block after block for ever; yields how many lines each held."""
    warm_up()
    blocks = [_events(bodies[i : i + BLOCK], i) for i in range(0, len(bodies), BLOCK)]
    state, controls = new_state(), Controls()
    for block in cycle(blocks):
        state, _, _ = score(state, block, None, controls)
        yield len(block.received_at)


def zstd(bodies: list[bytes]) -> Iterator[int]:
    """Compress line after line for ever, as `detector`."""
    compressor = zstandard.ZstdCompressor(level=3)
    blocks = [bodies[i : i + BLOCK] for i in range(0, len(bodies), BLOCK)]
    for block in cycle(blocks):
        for line in block:
            compressor.compress(line)
        yield len(block)


def _events(block: list[bytes], first: int) -> Events:
    offsets = np.zeros(len(block) + 1, np.int64)
    np.cumsum([len(line) for line in block], out=offsets[1:])
    times = 1_772_445_600_000 + 10 * np.arange(first, first + len(block), dtype=np.int64)
    body = np.frombuffer(b"".join(block), np.uint8)
    return Events(body, offsets, times, np.zeros(len(block), np.uint64), lambda i: b"%d" % (first + i))


def main(way: str, count: int, warm: int, cpu: float) -> None:
    """Measure one way."""
    work = {"detector": detector, "zstd": zstd}[way]([line for _, line in lines(count, 1)])
    done = 0
    while done < warm:
        done += next(work)
    first, began = done, time.process_time()
    while time.process_time() - began < cpu:
        done += next(work)
    sys.stdout.write(json.dumps({"events": done - first, "cpu": time.process_time() - began}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
