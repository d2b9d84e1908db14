"""Events of the past: learned as they were, told to nobody, and the stream is warm when its present begins."""

import contextlib
import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.detector import dump, load
from detectors.standing import standing
from pipeline.replay.shadow import Numbered
from pipeline.worker.partition import Partition
from pipeline.worker.reference import Reference
from pipeline.worker.seeds import REFUSED, seeding
from schemas import frames
from schemas.controls import ForgetControl, StreamControl
from schemas.frames import Block, Frame, Range
from schemas.identity import placed_event_id
from schemas.topics import ANOMALIES, DEAD_LETTERS, USAGE
from tests.pipeline.replay import worlds
from tests.pipeline.worker.test_agent import Crashed, Outside, run, told, worker

ORGANIZATION = worlds.ORGANIZATION
DAY_MS = 86_400_000
NOW = 1_700_000_000_000
LONG_AGO = NOW - 40 * DAY_MS
Event = tuple[bool, int, bytes]
"""Of the past?, time in ms, body."""


def usual(n: int) -> bytes:
    rng = random.Random(n)
    return f"GET /orders/{rng.randrange(10_000)} 200 in {rng.randrange(90)} ms".encode()


PAST: list[Event] = [(True, LONG_AGO + n * 60_000, usual(n)) for n in range(2_000)]
ODD: list[Event] = [(True, LONG_AGO + (2_000 + n) * 60_000, b"panic: upstream is gone") for n in range(3)]
PRESENT: list[Event] = [(False, NOW + n * 60_000, usual(5_000 + n)) for n in range(300)]


def log(events: Sequence[Event], cuts: Sequence[int] = (), stream: str = "web") -> list[bytes]:
    """The frames of one stream's events, in this order, cut at these places; then a day of ticks."""
    out = []
    seen = [0, 0]
    edges = sorted({0, len(events), *(c for c in cuts if c < len(events))})
    through = NOW - DAY_MS
    for start, stop in itertools.pairwise(edges):
        run_of = events[start:stop]
        offsets = []
        begins = list(seen)
        for past, _, _ in run_of:
            offsets.append(seen[past])
            seen[past] += 1
        through = max([through + 1, *(at + 1 for past, at, _ in run_of if not past)])
        columns = frames.columns(
            [int(past) for past, _, _ in run_of],
            [0] * len(run_of),
            offsets,
            [at for _, at, _ in run_of],
            [b""] * len(run_of),
            [body for _, _, body in run_of],
        )
        ranges = tuple(
            Range(topic, f"id of {topic}", 0, (begins[k], 0), (seen[k], 0), through)
            for k, topic in enumerate(("events", "seeds"))
        )
        out.append(frames.encode(Frame(ranges, (Block(ORGANIZATION, stream, 0, len(run_of)),), columns)))
    nothing = frames.columns([], [], [], [], [], [])
    for hour in range(1, 25):
        ranges = tuple(
            Range(topic, f"id of {topic}", 0, (seen[k], 0), (seen[k], 0), through + hour * 3_600_000)
            for k, topic in enumerate(("events", "seeds"))
        )
        out.append(frames.encode(Frame(ranges, (), nothing)))
    return out


def scored(frames_of: list[bytes]) -> tuple[Outside, Partition]:
    outside = Outside(frames_of)
    one = worker(outside, 1 << 40)
    run(outside, one, list(range(len(frames_of))))
    return outside, one.partitions[0]


def of(outside: Outside, topic: str) -> list[dict[str, object]]:
    return [orjson.loads(o.value) for o in outside.sent if o.topic == topic]


def state_of(partition: Partition) -> bytes:
    """The stream's state, with the places of the events that it names left out: they are of frames."""
    state = load(dump(partition.streams[f"{ORGANIZATION}/web"].state))
    for name in ("first_event", "last_event"):
        if data := getattr(state, name):
            setattr(state, name, replace(Reference.from_bytes(data), frame=0, event=0).to_bytes())
    return dump(state)


def counted(outside: Outside) -> tuple[int, int]:
    """(seeded, scored) by the usage records."""
    rows = [u for u in of(outside, USAGE.name) if not u["is_anomaly"]]
    return sum(int(str(u["seeded"])) for u in rows), sum(int(str(u["count"])) for u in rows)


def test_nothing_of_the_past_is_told_or_billed_and_the_present_is_warm() -> None:
    loud, _ = scored(log([(False, at + NOW - LONG_AGO, body) for _, at, body in PAST + ODD]))
    assert of(loud, ANOMALIES.name), "the odd events would have been told"
    outside, partition = scored(log(PAST + ODD, range(0, 3_000, 250)))
    assert not of(outside, ANOMALIES.name)
    assert {u["is_anomaly"] for u in of(outside, USAGE.name)} == {False}
    assert counted(outside) == (len(PAST + ODD), 0)
    assert not any(u["opened"] for u in of(outside, USAGE.name))
    # Counted when it was read, not when it was: it is use of no period of the past.
    assert min(int(str(u["occurred_at"])) for u in of(outside, USAGE.name)) >= NOW - DAY_MS
    stream = partition.streams[f"{ORGANIZATION}/web"]
    assert seeding(stream.state)
    assert standing(stream.state).reference_n >= 1_000


def test_an_anomaly_of_the_present_is_told_calibrated_and_the_gap_before_it_is_no_silence() -> None:
    strange = [(False, NOW + 300 * 60_000 + n * 60_000, b"panic: upstream is gone") for n in range(3)]
    outside, _ = scored(log(PAST + PRESENT + strange)[:1])
    found = of(outside, ANOMALIES.name)
    assert found, "the first strange line of the present is told"
    assert all(int(str(a["created_at"])) >= NOW + 300 * 60_000 for a in found)
    assert all(a["calibrated"] for a in found)
    assert counted(outside) == (len(PAST), len(PRESENT) + 3)
    silent, _ = scored(log(PAST + PRESENT[:1]))
    assert not [a for a in of(silent, ANOMALIES.name) if int(str(a["created_at"])) < NOW]


def test_a_silence_of_the_present_is_told_by_what_the_past_taught() -> None:
    outside, _ = scored(log(PAST + PRESENT))
    kinds = {(a["kind"], int(str(a["created_at"])) > NOW + 299 * 60_000) for a in of(outside, ANOMALIES.name)}
    assert kinds == {("silence", True)}


def test_an_episode_that_is_open_when_the_present_begins_is_over_untold() -> None:
    going_on = [(False, NOW + n * 60_000, usual(n)) for n in range(5)]
    outside, _ = scored(log(PAST + ODD + going_on)[:1])
    assert not of(outside, ANOMALIES.name)


def test_a_stream_with_events_of_its_own_refuses() -> None:
    outside, partition = scored(log(PRESENT[:50] + PAST[:7] + PRESENT[50:60], (50, 57)))
    letters = of(outside, DEAD_LETTERS.name)
    assert len({str(letter["id"]) for letter in letters}) == 7
    assert {(letter["reason"], letter["topic"]) for letter in letters} == {(REFUSED, "seeds")}
    assert counted(outside) == (0, 60)
    alone, other = scored(log(PRESENT[:50] + PRESENT[50:60], (50,)))
    assert not of(alone, DEAD_LETTERS.name)
    assert state_of(partition) == state_of(other)


def test_a_deleted_stream_can_be_seeded() -> None:
    numbered = [
        Numbered(0, n, f := frames.decode(data), len(f.events.body))
        for n, data in enumerate(log(PRESENT[:50] + PAST[:7], (50,)))
    ]
    forget = ForgetControl(organization_id=UUID(ORGANIZATION), stream="web", version=1)
    said = worlds.with_said(numbered, {1: [forget]})
    outside, partition = scored([frames.encode(n.frame) for n in said])
    assert not of(outside, DEAD_LETTERS.name)
    assert counted(outside) == (7, 50)
    assert seeding(partition.streams[f"{ORGANIZATION}/web"].state)


def test_a_paused_stream_skips_the_past_too() -> None:
    numbered = [Numbered(0, n, f := frames.decode(data), len(f.events.body)) for n, data in enumerate(log(PAST[:9]))]
    pause = StreamControl(organization_id=UUID(ORGANIZATION), stream="web", version=1, paused=True)
    outside, _ = scored([frames.encode(n.frame) for n in worlds.with_said(numbered, {0: [pause]})])
    assert counted(outside) == (0, 0)
    assert sum(int(str(u["skipped"])) for u in of(outside, USAGE.name)) == 9


@settings(max_examples=6, deadline=None)
@given(cuts=st.sets(st.integers(1, 2_400), max_size=40))
def test_the_cut_into_blocks_changes_no_state(cuts: set[int]) -> None:
    events = PAST + ODD + PRESENT[:100]
    _, whole = scored(log(events)[:1])
    frames_of = log(events, sorted(cuts))[:-24]
    outside, cut = scored(frames_of)
    assert state_of(whole) == state_of(cut)
    assert counted(outside) == (len(PAST + ODD), 100)


@settings(max_examples=5, deadline=None)
@given(
    crashes=st.lists(st.integers(1, 150), min_size=1, max_size=4), checkpoint_bytes=st.sampled_from([2_000, 1 << 40])
)
def test_any_crash_says_the_same(crashes: list[int], checkpoint_bytes: int) -> None:
    strange = [(False, NOW + 100 * 60_000, b"panic: upstream is gone")] * 3
    made = log(PAST[:1_200] + PRESENT[:100] + strange, range(0, 1_300, 60))
    clean, _ = scored(made)
    outside = Outside(made)
    for crash in crashes:
        outside.steps, outside.fails_at = 0, crash
        with contextlib.suppress(Crashed):
            run(outside, worker(outside, checkpoint_bytes), list(range(len(made))))
    outside.fails_at = -1
    run(outside, worker(outside, checkpoint_bytes), list(range(len(made))))
    assert told(outside) == told(clean)


@pytest.mark.parametrize("event", [0, 5, (1 << 31) - 1])
@pytest.mark.parametrize("seeded", [False, True])
def test_a_reference_reads_back(event: int, seeded: bool) -> None:
    one = Reference(placed_event_id("t", 0, 1, 0), 1 << 40, event, "00-a" if event else None, seeded)
    assert Reference.from_bytes(one.to_bytes()) == one
