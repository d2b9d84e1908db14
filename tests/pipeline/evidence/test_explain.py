"""Every event of a world is explained as the detector's own results say it was."""

from collections import Counter
from uuid import UUID

import numpy as np
import pytest

from detectors.detector import Controls
from pipeline.evidence.course import steps
from pipeline.evidence.cut import Start
from pipeline.evidence.explain import Found, Why, explain, find
from pipeline.replay import shadow
from pipeline.worker.scoring import event_id
from schemas.models import Anomaly
from schemas.topics import ANOMALIES
from tests.pipeline.evidence.cases import CONTROLS, SETTINGS
from tests.pipeline.replay import worlds

FRAMES = worlds.world(103, 3_000)


def why(place: Found, controls: Controls = CONTROLS) -> Why:
    return explain(steps(FRAMES, place.organization_id, place.stream), place, Start(), controls)


def anomalies() -> list[Anomaly]:
    said = shadow.score(FRAMES, worlds.TOPIC_ID, CONTROLS, SETTINGS)
    values = [output.value for one in said for output in one.outputs if output.topic == ANOMALIES.name]
    return list({a.id: a for a in map(Anomaly.from_bytes, values)}.values())


def test_the_first_event_of_each_anomaly_is_one() -> None:
    found = [a for a in anomalies() if a.kind != "silence"]
    assert len(found) > 3
    for anomaly in found:
        place = next(find(FRAMES, str(anomaly.first_event_id)))
        assert (place.frame, place.index) == (anomaly.position.frame, anomaly.position.event)
        answer = why(place)
        assert (answer.outcome, answer.anomaly) == ("anomaly", anomaly.id)
        assert dict(answer.channels)
        strict = why(place, Controls(0.0))
        assert strict.outcome == "suppressed"
        assert strict.anomaly is None
        assert strict.surprisal == answer.surprisal < strict.level


def test_early_events_are_normal_and_say_that_the_stream_warms_up() -> None:
    block = FRAMES[0].frame.blocks[0]
    ends = np.cumsum(FRAMES[0].frame.events.id_length, dtype=np.int64)
    place = next(find(FRAMES, str(event_id(FRAMES[0].frame, block, block.start, ends))))
    answer = why(place)
    assert answer.outcome == "normal"
    assert "warming 0/1,000" in answer.said


def test_a_producers_id_is_found_each_time_it_was_given_and_the_second_is_skipped() -> None:
    repeated = next(
        places for n in range(1, 400) if len(places := list(find(FRAMES, f"id-{n}", worlds.ORGANIZATION, "json"))) > 1
    )
    outcomes = Counter(why(place).outcome for place in repeated)
    assert outcomes["skipped"] == len(repeated) - 1
    assert why(repeated[0]).outcome != "skipped"
    assert len({place.id for place in repeated}) == 1


@pytest.mark.parametrize("wanted", [str(UUID(int=5)), "no such id", ""])
def test_what_is_not_there_is_not_found(wanted: str) -> None:
    assert not list(find(FRAMES, wanted))
