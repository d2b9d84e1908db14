"""What was said before the log's beginning is known from the partition's saved records, and a course goes on by it."""

from typing import Any
from uuid import UUID

from pipeline.evidence.course import steps
from pipeline.evidence.export import rules_before
from pipeline.worker.partition import Partition
from pipeline.worker.rules import with_rule
from pipeline.worker.scoring import score_frame
from schemas.controls import Control, SettingsControl, StreamControl
from tests.pipeline.evidence.cases import CONTROLS
from tests.pipeline.replay import worlds

WORDS: dict[str, Any] = {"organization_id": UUID(worlds.ORGANIZATION)}
SAID: dict[int, list[Control]] = {
    2: [
        SettingsControl(**WORDS, version=1, sensitivity=700),
        StreamControl(**WORDS, stream="text", version=1, muted=True),
    ],
    5: [StreamControl(**WORDS, stream="text", version=2, paused=True)],
    9: [SettingsControl(**WORDS, version=2, sensitivity=100)],
}


def test_the_course_of_a_log_without_its_beginning_asks_the_same() -> None:
    frames = worlds.with_said(worlds.world(4, 1_000), SAID)
    partition = Partition(0, worlds.TOPIC_ID)
    records = [b"of another release"]
    for n in frames[:20]:
        score_frame(partition, n.offset, n.frame, n.size, lambda _: None, CONTROLS, 10)
        records.append(partition.checkpoint(0.0, 0)[1])
    for stream in worlds.STREAMS:
        whole = [step.asked for step in steps(frames, worlds.ORGANIZATION, stream, CONTROLS)]
        for cut in (3, 4, 6, 8, 12):
            known = rules_before(records, worlds.TOPIC_ID, frames[cut].offset)
            rest = steps(frames[cut:], worlds.ORGANIZATION, stream, CONTROLS, known)
            assert [step.asked for step in rest] == whole[cut:]
    assert not rules_before(records, "another topic", 1 << 40)
    assert rules_before(records, worlds.TOPIC_ID, 0) == {}
    assert set(rules_before(records[-1:], worlds.TOPIC_ID, 1 << 40)) == set(
        with_rule(with_rule({}, 0, SAID[2][0]), 0, SAID[2][1])
    )
