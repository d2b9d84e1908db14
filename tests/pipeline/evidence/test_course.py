"""A stream played alone ends where the worker's does, whatever its organization says on the way."""

from typing import Any
from uuid import UUID

import pytest

from detectors.detector import dump
from pipeline.evidence.course import Played, matters, play, steps
from pipeline.replay.shadow import Numbered, streams_per_partition
from pipeline.worker.outputs import outputs
from pipeline.worker.partition import Partition
from pipeline.worker.saved import stream_key
from pipeline.worker.scoring import score_frame
from schemas.controls import Control, FeedbackControl, StreamControl
from schemas.models import Anomaly
from schemas.topics import ANOMALIES
from tests.pipeline.evidence import cases
from tests.pipeline.evidence.cases import CONTROLS
from tests.pipeline.replay import worlds


def same(frames: list[Numbered]) -> int:
    """How many messages a worker tells of a log; each stream played alone tells as many and ends in the same state."""
    partition = Partition(0, worlds.TOPIC_ID)
    told: list[Anomaly] = []
    for n in frames:
        most = streams_per_partition(cases.SETTINGS)
        scored = score_frame(partition, n.offset, n.frame, n.size, lambda _: None, CONTROLS, most)
        sent = outputs(partition, n.offset, n.frame, scored)
        told += [Anomaly.from_bytes(output.value) for output in sent if output.topic == ANOMALIES.name]
    for stream in worlds.STREAMS:
        played = Played()
        updates = 0
        for step in steps(frames, worlds.ORGANIZATION, stream, CONTROLS):
            if matters(played, step):
                updates += len(play(played, step).updates)
        assert updates == sum(anomaly.stream == stream for anomaly in told)
        assert dump(played.state) == dump(partition.streams[stream_key(worlds.ORGANIZATION, stream)].state)
    return len(told)


@pytest.mark.parametrize("seed", [207, 209, 212, 215])
def test_it_tells_what_the_worker_tells_and_ends_in_the_same_state(seed: int) -> None:
    assert same(cases.spoken(seed, 1_500))


@pytest.mark.parametrize("also", [False, True])
def test_a_silence_that_waits_is_looked_at_when_a_worker_looks(also: bool) -> None:
    frames = worlds.going_on(worlds.world(3), 3)
    of: dict[str, Any] = {"organization_id": UUID(worlds.ORGANIZATION), "stream": "text"}
    verdict = FeedbackControl(**of, version=1, anomaly_id=UUID(int=1), verdict="none", patterns=())
    said: dict[int, list[Control]] = {
        0: [StreamControl(**of, version=1, sensitivity=0), verdict],
        len(frames) - 2: [StreamControl(**of, version=2, sensitivity=1_000), *[verdict][: int(also)]],
    }
    waits = same(worlds.with_said(frames[:-2], said))
    looked = same(worlds.with_said(frames[:-1], said))
    # A worker that was told something else of the stream in that frame waits for the silence's own next moment.
    assert (looked == waits) is also
