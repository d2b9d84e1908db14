"""Silence through the worker: found at ticks, also of streams that are not in memory; the same after any crash."""

import asyncio
import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.detector import score
from pipeline.worker import agent, scoring
from schemas import frames
from schemas.frames import Block, Frame, Range
from schemas.topics import ANOMALIES, USAGE
from tests.pipeline.worker.test_agent import ORGANIZATION, Crashed, Outside, message, run, told, worker

START = 1_700_000_000_000
STEP = 60_000
STREAMS = [f"s{n}" for n in range(6)]
WARM = 1_300
"""Frames with an event of every stream, before `s1` stops; each stream sends once a minute."""
STOPPED = 40


def frame(n: int, streams: list[str], *, through: int | None = None) -> bytes:
    """Frame n: at its minute one event of each of these streams, places counted by frames."""
    at = START + n * STEP
    rows = [(stream, b"beat of %s" % stream.encode()) for stream in streams]
    columns = frames.columns(
        [0] * len(rows),
        list(range(len(rows))),
        [n] * len(rows),
        [at + 10 * i for i in range(len(rows))],
        [b""] * len(rows),
        [body for _, body in rows],
    )
    blocks = tuple(Block(ORGANIZATION, stream, i, i + 1) for i, (stream, _) in enumerate(rows))
    source = Range("events", "source", 0, (n, 0), (n + 1, 0), at + 1_000 if through is None else through)
    return frames.encode(Frame((source,), blocks, columns))


OTHERS = [s for s in STREAMS if s != "s1"]
LOG = [frame(n, STREAMS) for n in range(WARM)] + [frame(WARM + n, OTHERS) for n in range(STOPPED)]
LOG += [frame(WARM + STOPPED + n, STREAMS) for n in range(5)]


def clean(log: list[bytes]) -> Outside:
    outside = Outside(log)
    run(outside, worker(outside, 1 << 40), list(range(len(log))))
    return outside


CLEAN = clean(LOG)
SAID = told(CLEAN)


def anomalies(outside: Outside) -> list[dict[str, Any]]:
    return [orjson.loads(o.value) for o in outside.sent if o.topic == ANOMALIES.name]


def test_a_stopped_stream_is_told_at_a_tick_and_billed_once() -> None:
    found = anomalies(CLEAN)
    assert {a["stream"] for a in found} == {"s1"}
    assert {a["kind"] for a in found} == {"silence"}
    assert len({a["id"] for a in found}) == 1
    assert [a["revision"] for a in found] == list(range(1, len(found) + 1))
    assert [a["open"] for a in found] == [True] * (len(found) - 1) + [False]
    usage = [orjson.loads(o.value) for o in CLEAN.sent if o.topic == USAGE.name]
    units = [u for u in usage if u["is_anomaly"]]
    assert [(u["usage_id"], u["count"], u["calibrated"]) for u in units] == [(found[0]["id"], 1, True)]
    assert units[0]["position"]["frame"] == WARM - 1  # its last event
    assert START + WARM * STEP < units[0]["occurred_at"] < START + (WARM + STOPPED) * STEP
    assert sum(u["count"] for u in usage if not u["is_anomaly"]) == WARM * 6 + STOPPED * 5 + 5 * 6


def test_it_is_told_while_it_lasts() -> None:
    part = clean(LOG[: WARM + STOPPED])
    assert anomalies(part)
    assert all(a["open"] for a in anomalies(part))


@settings(max_examples=8, deadline=None)
@given(
    crashes=st.lists(st.integers(1, 4_000), max_size=4),
    skipped=st.sets(st.integers(WARM - 20, len(LOG) - 2), max_size=30),
    checkpoint_bytes=st.sampled_from([2_000, 20_000, 1 << 40]),
)
def test_any_crash_says_the_same(crashes: list[int], skipped: set[int], checkpoint_bytes: int) -> None:
    outside = Outside(LOG)
    for fails_at in [*crashes, -1]:
        outside.steps, outside.fails_at = 0, fails_at
        with contextlib.suppress(Crashed):
            run(outside, worker(outside, checkpoint_bytes), [n for n in range(len(LOG)) if n not in skipped])
    assert told(outside) == SAID


def test_a_stream_that_is_not_in_memory_is_found_silent() -> None:
    outside = Outside(LOG)
    one = worker(outside, 1)  # saves after every frame, and keeps one stream in memory
    run(outside, one, list(range(WARM + 10)))
    assert len(one.partitions[0].streams) == 1
    assert f"{ORGANIZATION}/s1" not in one.partitions[0].streams
    assert {a["stream"] for a in anomalies(outside)} <= {"s1"}
    run(outside, one, list(range(WARM + 10, len(LOG))))
    assert told(outside) == SAID


def test_a_tick_looks_only_at_streams_that_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = Outside(LOG)
    one = worker(outside, 1 << 40)
    run(outside, one, list(range(WARM)))
    calls = 0

    def counted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return score(*arguments)

    monkeypatch.setattr(scoring, "score", counted)
    ticks = [
        frames.encode(Frame((Range("events", "source", 0, (WARM, 0), (WARM, 0), START + WARM * STEP),), (), _NONE))
    ]
    outside.log = LOG[:WARM] + ticks * 50

    async def deliver() -> None:
        for offset in range(WARM, WARM + 50):
            await agent.handle(one, message(outside.log, offset))

    asyncio.run(deliver())
    assert calls == 0


_NONE = frames.columns([], [], [], [], [], [])


@pytest.mark.parametrize("seconds", [600, 86_400])
def test_a_packer_that_stood_still_makes_no_silence(seconds: int) -> None:
    """It comes back and reads what was sent meanwhile; or nobody sent, because all stood still: time goes on as it reads."""
    held = [frame(n, STREAMS) for n in range(WARM)]
    at = START + WARM * STEP
    ticks = [
        frames.encode(Frame((Range("events", "source", 0, (WARM, 0), (WARM, 0), through),), (), _NONE))
        for through in (at, at, at)  # through stands still however long it took
    ]
    later = [frame(WARM + n, STREAMS) for n in range(seconds // 60)]
    outside = clean(held + ticks + later)
    assert anomalies(outside) == []


def test_frames_that_are_accepted_as_lost_are_no_silence() -> None:
    outside = Outside([frame(n, STREAMS) for n in range(WARM + 60)])
    run(outside, worker(outside, 1), list(range(WARM)))
    outside.first = WARM + 50
    run(outside, worker(outside, 1, accept_new_topic=True), [WARM + 52])
    run(outside, worker(outside, 1), [WARM + 59])
    assert anomalies(outside) == []
