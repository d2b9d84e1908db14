"""Evidence and explanations where a stream began with events of the past: the worker's answer, byte for byte."""

import numpy as np

from detectors.detector import Controls, dump
from pipeline.evidence.bundle import Bundle, Source, from_parts, to_parts, versions
from pipeline.evidence.course import Played, matters, play, steps
from pipeline.evidence.cut import Start, cut
from pipeline.evidence.explain import explain, find
from pipeline.evidence.verify import verify
from pipeline.replay.shadow import Numbered
from pipeline.worker import seeds
from pipeline.worker.scoring import event_id
from schemas import frames
from schemas.models import Anomaly
from schemas.topics import ANOMALIES
from tests.pipeline.evidence.cases import reseal
from tests.pipeline.worker.test_seeds import NOW, ODD, ORGANIZATION, PAST, PRESENT, log, scored

STRANGE = [(False, NOW + 300 * 60_000 + n * 60_000, b"panic: upstream is gone") for n in range(3)]
REFUSED = PAST[:5]
LOG = log(PAST + ODD + PRESENT + REFUSED + STRANGE, [700, 1_400, len(PAST + ODD) + 1, len(PAST + ODD + PRESENT) + 2])
FRAMES = [Numbered(0, n, f := frames.decode(data), len(f.events.body)) for n, data in enumerate(LOG)]
OUTSIDE, PARTITION = scored(LOG)
TOLD = [output.value for output in OUTSIDE.sent if output.topic == ANOMALIES.name]


def test_a_stream_played_alone_ends_where_the_workers_does() -> None:
    played = Played()
    updates = 0
    for step in steps(FRAMES, ORGANIZATION, "web", Controls()):
        if matters(played, step):
            updates += len(play(played, step).updates)
    assert updates == len(TOLD) > 0
    assert dump(played.state) == dump(PARTITION.streams[f"{ORGANIZATION}/web"].state)


def test_a_bundle_that_begins_in_the_past_verifies() -> None:
    first = Anomaly.from_bytes(TOLD[0])
    source = Source(ORGANIZATION, "web", "blocks-1", 0)
    found = cut(steps(FRAMES, ORGANIZATION, "web", Controls()), source, first.id, 0, Start())
    assert any(event.seeded for step in found.steps for event in step.events)
    assert list(found.anomaly) == [value for value in TOLD if Anomaly.from_bytes(value).id == first.id]
    bundle = Bundle(source, versions(), found.anomaly, found.usage, found.state, found.steps, ())
    assert from_parts(to_parts(bundle)) == bundle
    # Its own frame is the first that is compared; here the window is longer, and begins with the past.
    again = cut(from_parts(to_parts(bundle)).steps, source, first.id, 0, Start(-1, bundle.state))
    assert (again.anomaly, again.usage) == (found.anomaly, found.usage)
    short = cut(steps(FRAMES, ORGANIZATION, "web", Controls()), source, first.id, first.position.frame, Start())
    sealed = Bundle(source, versions(), short.anomaly, short.usage, short.state, short.steps, ())
    verdict = verify(reseal(sealed))
    assert verdict.good, verdict.checks


def explained(stop: int) -> tuple[str, str]:
    """Outcome and reason of the event at a place of the log."""
    frame = next(n for n in FRAMES if (stop := stop - len(n.frame)) < 0)
    index = stop + len(frame.frame)
    ends = np.cumsum(frame.frame.events.id_length, dtype=np.int64)
    block = frame.frame.blocks[0]
    place = next(find(FRAMES, str(event_id(frame.frame, block, index, ends))))
    assert (place.frame, place.index) == (frame.offset, index)
    why = explain(steps(FRAMES, ORGANIZATION, "web", Controls()), place, Start())
    return why.outcome, why.said


def test_events_of_the_past_are_explained() -> None:
    assert explained(1_500)[0] == "normal"
    outcome, said = explained(len(PAST))
    assert outcome == "suppressed"
    assert "of the past" in said
    assert explained(len(PAST + ODD + PRESENT)) == ("skipped", f"a dead letter of worker: {seeds.REFUSED}")
    assert explained(len(PAST + ODD + PRESENT + REFUSED))[0] == "anomaly"
