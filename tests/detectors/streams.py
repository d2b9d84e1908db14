"""Made streams of events for the tests of the detector: numbers from a seed, no float."""

import json
from collections.abc import Sequence

import numpy as np

from detectors.detector import Events
from detectors.evidence import splitmix

WORDS = [
    "user",
    "session",
    "cache",
    "order",
    "payment",
    "disk",
    "queue",
    "worker",
    "index",
    "shard",
    "token",
    "lease",
    "replica",
    "batch",
    "cursor",
    "packet",
]
VERBS = ["opened", "closed", "flushed", "read", "wrote", "merged", "expired", "renewed", "accepted", "dropped"]


def block(bodies: Sequence[bytes], times: Sequence[int], ids: Sequence[int] | None = None, first: int = 0) -> Events:
    """A block whose event i is named by its number in the stream."""
    offsets = np.zeros(len(bodies) + 1, np.int64)
    np.cumsum([len(b) for b in bodies], out=offsets[1:])
    return Events(
        np.frombuffer(b"".join(bodies), np.uint8),
        offsets,
        np.array(times, np.int64),
        np.array(ids if ids is not None else [0] * len(bodies), np.uint64),
        lambda i: b"event %d" % (first + i),
    )


def lines(n: int, seed: int) -> list[bytes]:
    """n log lines of a few forms, with names, numbers and an identifier each."""
    draws = splitmix(seed, 6 * n).reshape(n, 6)
    out = []
    for a, b, c, d, e, f in draws.tolist():
        level = "INFO" if a % 50 else "WARN"
        out.append(
            f"12:{b % 60:02d}:{c % 60:02d} {level} {WORDS[d % 7]} {VERBS[e % 5]} id={f % 10**12} in {e % 97} ms "
            f"from 10.0.{c % 4}.{d % 256}".encode()
        )
    return out


def objects(n: int, seed: int) -> list[bytes]:
    """n JSON events with nested fields, numbers, booleans and nulls."""
    draws = splitmix(seed, 6 * n).reshape(n, 6)
    return [
        json.dumps(
            {
                "event_id": str(f),
                "level": "info" if a % 40 else "warning",
                "message": f"{WORDS[d % 7]} {VERBS[e % 5]}",
                "http": {"status": [200, 200, 200, 304, 404][b % 5], "ms": c % 1000 / 10, "ok": bool(b % 3)},
                "tags": [WORDS[a % 3], None],
            }
        ).encode()
        for a, b, c, d, e, f in draws.tolist()
    ]


def values(n: int, seed: int) -> list[int]:
    """n numbers about 500, each four fifths of the one before and a bell-shaped draw: what a load or a temperature does."""
    draws = (splitmix(seed, 8 * n).reshape(n, 8) % 16).sum(axis=1).tolist()
    out, level = [], 0
    for draw in draws:
        level = (4 * level + 5 * (draw - 60)) // 5
        out.append(500 + level)
    return out


def metric(numbers: Sequence[object]) -> list[bytes]:
    """Events of a metric, each with one number as it is spelt."""
    return [b'{"host": "web-1", "cpu": {"load": %s}}' % str(v).encode() for v in numbers]


def mixed(n: int, seed: int = 1) -> list[bytes]:
    """A stream with normal lines, a flood of one line in its last quarter, single novel lines, and odd bytes."""
    out = lines(n, seed)
    start = n - n // 4
    for i in range(start, min(start + n // 10, n)):
        out[i] = b"12:00:00 ERROR connection refused by database primary attempt %d" % (i % 7)
    for i in range(300, n, 307):
        out[i] = b"kernel panic at 0x%08x: not syncing" % i
    for i in range(500, n, 611):
        out[i] = objects(1, i)[0]
    if n > 50:
        out[40:44] = [b"", b"\x00\xff\xfe", b'{"a": [1, {"b": ' * 40, b"x" * 65536]
    return out


def times_of(n: int) -> list[int]:
    """Receiving times one second apart, with a step back now and then."""
    return [1_700_000_000_000 + 1000 * i - (1500 if i % 100 == 7 else 0) for i in range(n)]
