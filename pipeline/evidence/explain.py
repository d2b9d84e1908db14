"""Why an event was, or was not, an anomaly: its stream's course played again up to it, and on until its episode is decided."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, tee
from typing import Literal
from uuid import UUID

import numpy as np

from detectors import layout
from detectors.detector import CHANNELS, EpisodeUpdate, Results, State, dump, levels, load
from detectors.feedback import taught, teach
from pipeline.evidence.course import Answer, Played, Step, matters, play
from pipeline.evidence.cut import Start
from pipeline.replay.shadow import Numbered
from pipeline.worker.reference import Reference
from pipeline.worker.scoring import event_id
from pipeline.worker.seeds import REFUSED
from schemas.controls import FeedbackControl, ForgetControl
from schemas.identity import anomaly_id

Outcome = Literal["normal", "anomaly", "suppressed", "skipped"]

SHOWN_FROM = layout.SHOW_FROM
WARM_FROM = layout.CALIBRATED_FROM
_LONGEST_EPISODE = layout.ADOPT_AFTER + layout.QUIET_EVENTS


@dataclass(frozen=True)
class Found:
    """Where an event lies in `blocks`."""

    organization_id: str
    stream: str
    partition: int
    frame: int
    index: int
    id: UUID


@dataclass(frozen=True)
class Why:
    """The answer. Bits in 2^-16: the channels, the largest, -log2 p, the level by which it would be told then, the one that opens an episode."""

    outcome: Outcome
    said: str
    anomaly: UUID | None = None
    channels: tuple[tuple[str, int], ...] = ()
    score: int = 0
    surprisal: int = 0
    level: int = 0
    opens: int = layout.OPEN_SURPRISAL
    reference_n: int = 0
    sentence: str = ""


def find(frames: Iterable[Numbered], wanted: str, organization: str = "", stream: str = "") -> Iterator[Found]:
    """Every place of an event, in order: `wanted` is an event's id (a UUID), or a producer's own. Repeats are found too."""
    try:
        identity: UUID | None = UUID(wanted)
    except ValueError:
        identity = None
    name = wanted.encode()
    for numbered in frames:
        columns = numbered.frame.events
        id_ends = np.cumsum(columns.id_length, dtype=np.int64)
        for block in numbered.frame.blocks:
            if organization not in {"", block.organization_id} or stream not in {"", block.stream}:
                continue
            for i in range(block.start, block.stop):
                end = int(id_ends[i])
                own = columns.ids[end - int(columns.id_length[i]) : end]
                mine = bool(name) and own == name
                if not mine and identity is None:
                    continue
                found = event_id(numbered.frame, block, i, id_ends)
                if mine or found == identity:
                    yield Found(block.organization_id, block.stream, numbered.partition, numbered.offset, i, found)


def explain(course: Iterable[Step], place: Found, start: Start) -> Why:
    """Play a stream's course from a known state to an event, and on until it is known what became of its episode."""
    stream = start.begin()
    later = (step for step in course if step.frame > start.position)
    first: UUID | None = None
    for step in later:
        if step.frame >= place.frame:
            break
        if matters(stream, step):
            first = _first(place, play(stream, step).updates, first)
    else:
        return _left_out()
    row = next((k for k, event in enumerate(step.events) if event.index == place.index), None)
    if step.frame > place.frame or row is None:
        return _left_out()
    if step.asked.paused:
        return Why("skipped", "its stream was paused: it was not scored, and is counted as skipped")
    return _scored(stream, step, row, later, place, first)


def _scored(stream: Played, step: Step, row: int, later: Iterator[Step], place: Found, first: UUID | None) -> Why:
    """The answer about a step's event that is scored. `later`: the steps after it."""
    without = _without_verdicts(stream, step)
    played = play(stream, step)
    if played.results is None:
        raise ValueError(f"frame {step.frame} brings the stream no event")
    if row in played.refused:
        return Why("skipped", f"a dead letter of worker: {REFUSED}")
    answer = _alone(played.results, row, stream.state, step)
    episode = int(played.results.episode[row])
    if answer.outcome == "skipped" or episode < 0:
        return answer
    rest, again = tee(later)
    answer = _follow(chain([(step, played)], _plays(stream, rest)), stream, place, answer, episode, first)
    if answer.outcome != "suppressed" or without is None:
        return answer
    unsaid = _plays(without, map(_without_feedback, chain([step], again)))
    if _follow(unsaid, without, place, answer, episode, first).outcome == "suppressed":
        return answer
    return replace(
        answer, said="unusual in a way that a person has called normal: else its episode would have been told"
    )


def _left_out() -> Why:
    return Why("skipped", "another packer had written it before: it was left out here, and counted there")


def _plays(stream: Played, course: Iterable[Step]) -> Iterator[tuple[Step, Answer]]:
    return ((step, play(stream, step)) for step in course if matters(stream, step))


def _without_verdicts(stream: Played, step: Step) -> Played | None:
    """The stream before a step as if nothing of it had been called normal; None where nothing was."""
    normal = [(key, size) for key, size, said in taught(stream.state) if said == layout.NORMAL]
    if not normal and _without_feedback(step) == step:
        return None
    state = load(dump(stream.state))
    teach(state, normal, "none")
    return Played(state, stream.known)


def _without_feedback(step: Step) -> Step:
    return replace(step, changes=tuple(said for said in step.changes if not isinstance(said, FeedbackControl)))


def _follow(
    plays: Iterable[tuple[Step, Answer]], stream: Played, place: Found, answer: Why, episode: int, first: UUID | None
) -> Why:
    """What became of the event's episode. `first`: the anomaly that was told last before it."""
    after = 0
    for step, played in plays:
        if step.frame > place.frame and any(isinstance(said, ForgetControl) for said in step.changes):
            break
        results = played.results
        for update in played.updates:
            first = _first(place, [update], first)
            by_time = results is None and int(stream.state.head[layout.H_EPISODE]) == episode
            if by_time or (results is not None and _holds(results, episode, update.index)):
                return _told(answer, first, update)
        if results is not None and _reported(results, episode):
            return _told(answer, first, None)
        after += len(step.events)
        if after > 2 * _LONGEST_EPISODE:
            break
    return answer


def _first(place: Found, updates: Iterable[EpisodeUpdate], before: UUID | None) -> UUID | None:
    """The id of the anomaly that was told last."""
    for update in updates:
        event = Reference.from_bytes(update.reference).event_id
        before = anomaly_id(place.organization_id, place.stream, event, silence=update.silence)
    return before


def _holds(results: Results, episode: int, index: int) -> bool:
    """Whether what was told at an event is told of an episode: that event is a member, and reported."""
    return index >= 0 and int(results.episode[index]) == episode and bool(results.reported[index])


def _reported(results: Results, episode: int) -> bool:
    return bool(((results.episode == episode) & results.reported).any())


def _told(answer: Why, identity: UUID | None, update: EpisodeUpdate | None) -> Why:
    sentence = "" if update is None else update.explanation.sentence
    said = "it is part of an episode that was told"
    return replace(answer, outcome="anomaly", said=said, anomaly=identity, sentence=sentence)


def _alone(results: Results, row: int, state: State, step: Step) -> Why:
    """What the event's own row says, by what was in force; whether its episode is told later is seen later."""
    if results.duplicate[row]:
        return Why(
            "skipped", "a duplicate: its id is among the last 4,096 of the stream, and the event before it counted"
        )
    controls = step.asked.controls
    least, budget = levels(controls)
    level = max(least, int(state.head[layout.H_RATE_BITS]) - budget)
    surprisal, known = int(results.surprisal[row]), int(results.reference_n[row])
    outcome: Outcome = "normal"
    if known < SHOWN_FROM:
        said = f"warming {known:,}/{WARM_FROM:,}: nothing is told before {SHOWN_FROM} scores are known"
    elif int(results.episode[row]) >= 0 and step.events[row].seeded:
        outcome = "suppressed"
        said = "unusual, and an event of the past: it was learned, and not told"
    elif int(results.episode[row]) >= 0 and step.events[row].received_at < step.asked.muted_until:
        outcome = "suppressed"
        said = "unusual, and its stream was muted then: it was scored and learned, and not told"
    elif int(results.episode[row]) >= 0:
        outcome = "suppressed"
        said = f"unusual, and its episode never reached the level of sensitivity {controls.sensitivity}"
        if level > least:
            said += f" (as bounded by {controls.budget_per_day} false alarms a day at this stream's rate)"
    elif surprisal >= layout.OPEN_SURPRISAL:
        said = "rare by its rank, and too small an effect to be anomalous"
    else:
        said = "as usual events of this stream are"
    channels = tuple(zip(CHANNELS, (int(bits) for bits in results.channels[row]), strict=True))
    return Why(
        outcome,
        said,
        None,
        channels,
        int(results.score[row]),
        surprisal,
        level,
        reference_n=known,
    )
