"""Every event of a world is explained as the detector's own results say it was."""

from collections import Counter
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from detectors.detector import Controls, levels
from pipeline.evidence.course import steps
from pipeline.evidence.cut import Start
from pipeline.evidence.explain import Found, Why, explain, find
from pipeline.replay.shadow import Numbered
from pipeline.worker.scoring import event_id
from schemas.controls import Control, FeedbackControl, StreamControl
from schemas.models import Anomaly
from tests.pipeline.evidence.cases import CONTROLS, told
from tests.pipeline.replay import worlds

FRAMES = worlds.world(103, 3_000)


WORDS: dict[str, Any] = {"organization_id": UUID(worlds.ORGANIZATION), "version": 1}


def why(place: Found, controls: Controls = CONTROLS, frames: list[Numbered] = FRAMES) -> Why:
    return explain(steps(frames, place.organization_id, place.stream, controls), place, Start())


def anomalies() -> list[Anomaly]:
    return [anomaly for anomaly in told(FRAMES) if anomaly.kind != "silence"]


def test_the_first_event_of_each_anomaly_is_one() -> None:
    found = anomalies()
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


def test_it_is_answered_by_what_was_in_force_then() -> None:
    found = anomalies()
    assert {anomaly.stream for anomaly in found} == set(worlds.STREAMS)
    outcomes = Counter[str]()
    for anomaly in found:
        place = next(find(FRAMES, str(anomaly.first_event_id)))
        n, stream = place.frame - FRAMES[0].offset, anomaly.stream

        def with_(control: Control, at: int = n, place: Found = place) -> Why:
            return why(place, frames=worlds.with_said(FRAMES, {at: [control]}))

        paused = with_(StreamControl(**WORDS, stream=stream, paused=True))
        assert paused.outcome == "skipped"
        assert "paused" in paused.said
        muted = with_(StreamControl(**WORDS, stream=stream, muted=True), 0)
        assert muted.outcome == "suppressed"
        assert "muted" in muted.said
        own = with_(StreamControl(**WORDS, stream=stream, sensitivity=0))
        assert own.outcome == "suppressed"
        assert "sensitivity 0.0" in own.said
        assert own.level == levels(Controls(0.0))[0] > muted.level
        outcomes[with_(StreamControl(**WORDS, stream="another", paused=True)).outcome] += 1
    assert outcomes == {"anomaly": len(found)}


@pytest.mark.parametrize("at_once", [True, False])
def test_what_a_person_called_normal_is_said_to_be_that(at_once: bool) -> None:
    answers = Counter[str]()
    for anomaly in anomalies():
        place = next(find(FRAMES, str(anomaly.first_event_id)))
        normal = FeedbackControl(
            **WORDS, stream=anomaly.stream, anomaly_id=anomaly.id, verdict="normal", patterns=anomaly.patterns
        )
        at = place.frame - FRAMES[0].offset - (0 if at_once else 1)
        answer = why(place, frames=worlds.with_said(FRAMES, {at: [normal]}))
        answers[answer.outcome] += 1
        if answer.outcome == "suppressed":
            assert "a person has called normal" in answer.said
            assert why(place).outcome == "anomaly"
        too_weak = why(place, Controls(0.0), worlds.with_said(FRAMES, {at: [normal]}))
        assert "never reached the level" in too_weak.said
    assert answers["suppressed"] > len(anomalies()) // 2


@pytest.mark.parametrize("wanted", [str(UUID(int=5)), "no such id", ""])
def test_what_is_not_there_is_not_found(wanted: str) -> None:
    assert not list(find(FRAMES, wanted))
