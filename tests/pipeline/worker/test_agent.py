"""The agent's law: whatever Faust delivers, wherever it crashes, the outputs are those of a clean scoring."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from faust.types.tuples import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.detector import Controls
from pipeline.worker import agent
from pipeline.worker.agent import Worker
from pipeline.worker.outputs import Output
from schemas import frames
from schemas.errors import GapInFrames, OffsetLost, TopicRecreated
from schemas.frames import Block, Frame, Range
from schemas.topics import ANOMALIES, BLOCKS, USAGE

ORGANIZATION = "7a6f3f0c-4a3b-4a57-9a54-3d3f1d0f6a01"
STREAMS = ("a", "b", "c")
EVENTS_A_FRAME = 60


class Crashed(Exception):
    """The process ended here."""


def line(offset: int) -> bytes:
    """Quiet traffic, with a burst now and then once the streams are warm."""
    rng = random.Random(offset)
    if offset > 4_200 and offset % 900 < 60:
        return f"upstream timed out while connecting to backend {rng.randrange(3)}".encode()
    return f"GET /orders/{rng.randrange(10_000)} 200 in {rng.randrange(90)} ms".encode()


def frame(start: int, stop: int, line: Callable[[int], bytes] = line) -> bytes:
    """A frame of the events start to stop of one source; each event's bytes and time follow from its offset."""
    rows: list[tuple[int, bytes]] = []
    blocks = []
    for number, stream in enumerate(STREAMS):
        mine = [o for o in range(start, stop) if o % len(STREAMS) == number]
        blocks.append(Block(ORGANIZATION, stream, len(rows), len(rows) + len(mine)))
        rows += [(o, line(o)) for o in mine]
    columns = frames.columns(
        [0] * len(rows),
        [0] * len(rows),
        [o for o, _ in rows],
        [1_700_000_000_000 + 40 * o for o, _ in rows],
        [b""] * len(rows),
        [body for _, body in rows],
    )
    source = Range("events", "source", 0, (start, 0), (stop, 0), 0)
    return frames.encode(Frame((source,), tuple(blocks), columns))


LOG = [frame(n * EVENTS_A_FRAME, (n + 1) * EVENTS_A_FRAME) for n in range(110)]


@dataclass
class Outside:
    """Kafka as the agent sees it: the log, the table, what was sent. It fails at the step `fails_at`."""

    log: list[bytes]
    table: dict[bytes, bytes] = field(default_factory=dict)
    sent: list[Output] = field(default_factory=list)
    steps: int = 0
    fails_at: int = -1
    first: int = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.fails_at:
            raise Crashed

    async def send(self, output: Output) -> Awaitable[Any]:
        self.step()
        self.sent.append(output)
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        acknowledged.set_result(None)
        return acknowledged

    async def write(self, _partition: int, key: bytes, value: bytes) -> None:
        self.step()
        self.table[key] = value

    def read(self, _partition: int, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        if first < self.first:
            raise OffsetLost
        yield from ((n, self.log[n]) for n in range(first, last + 1))


def worker(
    outside: Outside,
    checkpoint_bytes: int,
    topic_id: str = "blocks-1",
    seconds: float = 3600,
    organization_streams: int = 100,
    **more: Any,
) -> Worker:
    return Worker(
        topic_id=lambda: topic_id,
        read=outside.read,
        first_frame=lambda _partition: outside.first,
        stored=outside.table.get,
        send=outside.send,
        write=outside.write,
        acknowledge=lambda _partition, _offset: None,
        controls=Controls(),
        checkpoint_bytes=checkpoint_bytes,
        checkpoint_seconds=seconds,
        resident_streams=1,
        organization_streams=organization_streams,
        **more,
    )


def message(log: list[bytes], offset: int) -> Message:
    return Message(BLOCKS.name, 0, offset, 0.0, 0, {}, None, log[offset], None)


def run(outside: Outside, one: Worker, deliveries: list[int]) -> None:
    """Deliver frames in this order; `Crashed` passes through."""

    async def deliver() -> None:
        for offset in deliveries:
            await agent.handle(one, message(outside.log, offset))

    asyncio.run(deliver())


def told(outside: Outside) -> dict[str, bytes]:
    """Every message by its identity; a repeated one must be the same bytes."""
    found: dict[str, bytes] = {}
    for output in outside.sent:
        value = orjson.loads(output.value)
        if output.topic == ANOMALIES.name:
            name = f"anomaly {value['id']} {value['revision']}"
        else:
            assert output.topic == USAGE.name
            name = f"usage {value['usage_id']}"
        assert found.setdefault(name, output.value) == output.value
    return found


def clean(log: list[bytes]) -> dict[str, bytes]:
    outside = Outside(log)
    run(outside, worker(outside, 1 << 40), list(range(len(log))))
    return told(outside)


CLEAN = clean(LOG)


def test_the_log_has_something_to_find() -> None:
    assert sum(name.startswith("anomaly") for name in CLEAN) > 5


@settings(max_examples=12, deadline=None)
@given(
    crashes=st.lists(st.integers(1, 150), max_size=6),
    skipped=st.sets(st.integers(0, len(LOG) - 2), max_size=30),
    back=st.integers(0, 40),
    checkpoint_bytes=st.sampled_from([1, 8_000, 60_000, 1 << 40]),
)
def test_any_crash_and_any_delivery_says_the_same(
    crashes: list[int], skipped: set[int], back: int, checkpoint_bytes: int
) -> None:
    outside = Outside(LOG)
    at = 0
    for fails_at in [*crashes, -1]:
        outside.steps, outside.fails_at = 0, fails_at
        one = worker(outside, checkpoint_bytes)
        # Faust begins anywhere up to what was handled, and leaves frames out; the last one comes, as ticks do.
        deliveries = [n for n in range(max(0, at - back), len(LOG)) if n not in skipped]
        try:
            run(outside, one, deliveries)
        except Crashed:
            at = min(len(LOG) - 1, at + 20)
    assert told(outside) == CLEAN


@settings(max_examples=8, deadline=None)
@given(fails_at=st.integers(1, 250), checkpoint_bytes=st.sampled_from([1, 8_000]))
def test_a_frame_that_was_cancelled_is_not_taken_as_handled(fails_at: int, checkpoint_bytes: int) -> None:
    outside = Outside(LOG, fails_at=fails_at)
    one = worker(outside, checkpoint_bytes)
    try:
        run(outside, one, list(range(len(LOG))))
    except Crashed:  # as when partitions move in the middle of a frame: the same worker goes on
        run(outside, one, [len(LOG) - 1])
    assert told(outside) == CLEAN


@settings(max_examples=8, deadline=None)
@given(crashes=st.lists(st.integers(1, 120), max_size=4), checkpoint_bytes=st.sampled_from([1, 8_000]))
def test_streams_over_the_limit_are_one_whatever_crashes(crashes: list[int], checkpoint_bytes: int) -> None:
    outside, calm = Outside(LOG), Outside(LOG)
    run(calm, worker(calm, 1 << 40, organization_streams=1), list(range(len(LOG))))
    for fails_at in [*crashes, -1]:
        outside.steps, outside.fails_at = 0, fails_at
        with contextlib.suppress(Crashed):
            run(outside, worker(outside, checkpoint_bytes, organization_streams=1), list(range(len(LOG))))
    assert told(outside) == told(calm)
    streams = {orjson.loads(o.value)["stream"] for o in outside.sent if o.topic == ANOMALIES.name}
    assert "other" in streams <= {"a", "other"}
    counted = (orjson.loads(value)["count"] for name, value in told(outside).items() if name.startswith("usage"))
    assert sum(counted) >= len(LOG) * EVENTS_A_FRAME


@settings(max_examples=8, deadline=None)
@given(stale=st.integers(10, 100), later=st.integers(1, 9))
def test_a_stale_state_written_by_a_zombie_is_seen_and_made_good(stale: int, later: int) -> None:
    outside = Outside(LOG)
    run(outside, worker(outside, 8_000), list(range(stale)))
    old = dict(outside.table)
    run(outside, worker(outside, 8_000), list(range(stale, min(len(LOG), stale + later))))
    # A worker that lost the partition overwrites one stream's newer state, and is killed before it writes more.
    key = f"{ORGANIZATION}/a".encode()
    if key in old:
        outside.table[key] = old[key]
    run(outside, worker(outside, 8_000), list(range(stale, len(LOG))))
    assert told(outside) == CLEAN


def test_two_packers_at_work_give_each_event_once() -> None:
    log = [frame(0, 3_000), frame(1_000, 2_500), frame(2_000, 5_000), frame(4_500, 6_600)]
    outside = Outside(log)
    run(outside, worker(outside, 8_000), list(range(len(log))))
    anomalies = {n for n in told(outside) if n.startswith("anomaly")}
    assert anomalies == {n for n in CLEAN if n.startswith("anomaly")}
    assert (
        sum(
            orjson.loads(o.value).get("count", 0)
            for o in outside.sent
            if o.topic == USAGE.name and b'"is_anomaly":false' in o.value
        )
        == 6_600
    )


def test_a_gap_stops_before_anything_is_sent_or_changed() -> None:
    outside = Outside([frame(0, 60), frame(120, 180)])
    one = worker(outside, 1)
    run(outside, one, [0])
    sent, table = list(outside.sent), dict(outside.table)
    with pytest.raises(GapInFrames, match="events are missing"):
        run(outside, one, [1])
    assert (outside.sent, outside.table) == (sent, table)


def test_a_topic_made_again_stops_or_goes_on_as_told() -> None:
    outside = Outside(LOG[:20])
    run(outside, worker(outside, 1), list(range(20)))
    outside.log = LOG[20:40]
    with pytest.raises(TopicRecreated, match="--accept-new-topic blocks"):
        run(outside, worker(outside, 1, topic_id="blocks-2"), [0])
    before = len(outside.sent)
    run(outside, worker(outside, 1, topic_id="blocks-2", accept_new_topic=True), list(range(20)))
    run(outside, worker(outside, 1, topic_id="blocks-2"), [19])
    assert len(outside.sent) >= before + 20


def test_a_partition_that_is_quiet_for_longer_than_retention_goes_on() -> None:
    ticks = [frame(60, 60)] * 30
    outside = Outside([LOG[0], *ticks, LOG[1]])
    run(outside, worker(outside, 1 << 40, seconds=0), list(range(30)))
    outside.first = 25  # what is older was removed
    run(outside, worker(outside, 1 << 40), [30, 31])
    assert told(outside) == {**clean(outside.log)}


def test_frames_that_were_removed_stop_until_that_is_accepted() -> None:
    outside = Outside(LOG)
    run(outside, worker(outside, 1), list(range(10)))
    outside.first = 20
    with pytest.raises(OffsetLost):
        run(outside, worker(outside, 1), [40])
    run(outside, worker(outside, 1, accept_new_topic=True), [40])
    run(outside, worker(outside, 1), [50])
    counts = [orjson.loads(value)["count"] for name, value in told(outside).items() if name.startswith("usage")]
    assert counts == [EVENTS_A_FRAME] * (10 + 31)
