"""Events with ids for a worker, of one stream: a tenth said again, half of them within the detector's horizon, half beyond.

Within it (the stream's last 4,096 ids, `tests/detectors/test_identity.py`) a repeat is dropped; beyond it, it is scored.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from schemas.topics import ORGANIZATION_HEADER, STREAM_HEADER
from tests.scenarios.traffic import Record

HORIZON = 4_096
LETTERS = "abcdefghijklmnopqrstuvwxyz"
QUIET = 2_000
"""Events before the first burst: by then the stream is calibrated."""


@dataclass
class Repeats:
    """How many events were said, and said again on each side of the horizon."""

    events: int = 0
    within: int = 0
    beyond: int = 0


def records(organization_id: str, seed: int, counts: Repeats) -> Iterator[Record]:
    """Records of ten events without end."""
    rng = random.Random(seed)
    headers = ((ORGANIZATION_HEADER, organization_id.encode()), (STREAM_HEADER, b"watched"))
    ids: list[int] = []  # as the detector scored them, the newest last
    old = 0  # below it every id was said again beyond the horizon, or passed over
    burst, what = 0, ""
    while True:
        many: list[bytes] = []
        while len(many) < 10:
            counts.events += 1
            if len(ids) > 100 and rng.random() < 0.05:
                counts.within += 1
                many.append(_event(rng, rng.choice(ids[-HORIZON // 2 :])))
                continue
            if len(ids) - old > HORIZON + 1_000 and rng.random() < 0.05:
                counts.beyond += 1
                old += rng.randrange(1, 5)
                identity = ids[old]
            else:
                identity = counts.events
            if burst == 0 and len(ids) > QUIET and rng.random() < 0.005:
                burst, what = 5, " ".join("".join(rng.choices(LETTERS, k=7)) for _ in range(12))
            many.append(_event(rng, identity, what if burst else ""))
            burst -= burst > 0
            ids.append(identity)
        yield Record(b"\n".join(many), headers, b"watched", events=10)


def _event(rng: random.Random, identity: int, burst: str = "") -> bytes:
    said = {"event_id": f"id-{identity}", "level": "info", "path": f"/p/{rng.randrange(9)}", "ms": rng.randrange(90)}
    if burst:
        said |= {"message": burst}
    return orjson.dumps(said)
