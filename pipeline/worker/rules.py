"""What tenants want reported, as control messages said it: kept with the partition, in force from the frame that brought it.

Every rule keeps the ones before it down to the oldest checkpoint, so that frames that are scored again find what held then.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.detector import Controls, State, missed, new_state
from detectors.feedback import teach
from detectors.standing import reset_anchor
from pipeline.worker.seeds import untold
from schemas.controls import (
    KINDS,
    AnchorControl,
    Control,
    FeedbackControl,
    ForgetControl,
    SettingsControl,
    StreamControl,
)
from schemas.frames import Frame, Place
from schemas.topics import CONTROL


@dataclass(frozen=True)
class Rule:
    """A control message, in force from frame `frame` on."""

    frame: int
    said: Control


_FOREVER = 1 << 60

Change = Callable[[State], State]
"""What a message does to its stream's state: it is changed in place and given back, or another one is given."""

Rules = Mapping[str, tuple[Rule, ...]]
"""Key of the control message → its versions, the newest last."""


def said_in(frame: Frame, expected: Mapping[tuple[str, int], Place]) -> list[Control]:
    """The control messages of a frame that were not taken yet, by their places; `expected` is as before the frame."""
    if not frame.controls:
        return []
    sources = [expected.get((r.topic_id, r.partition)) for r in frame.ranges if r.topic == CONTROL.name]
    first = sources[0] if sources and sources[0] is not None else (0, 0)
    return [
        KINDS[control["kind"]].model_validate({n: v for n, v in control.items() if n != "offset"}, strict=False)
        for control in frame.controls
        if control.get("kind") in KINDS and (control["offset"], 0) >= first
    ]


def with_rule(rules: Rules, frame: int, said: Control) -> Rules:
    """The rules after a message; the same where one of its key is not older."""
    before = rules.get(said.key, ())
    if before and before[-1].said.version >= said.version:
        return rules
    return {**rules, said.key: (*before, Rule(frame, said))}


def take(rules: Rules, frame: int, said: Control) -> tuple[Rules, bool, Change | None]:
    """A message taken: the rules after it, whether it is new, and what it changes of its stream's state, if it does."""
    if isinstance(said, FeedbackControl):  # as many as anomalies: kept in the states alone
        return rules, True, change_of(said, None)
    before = rules.get(said.key)
    after = with_rule(rules, frame, said)
    if after is rules:
        return rules, False, None
    return after, True, change_of(said, before[-1].said if before else None)


def change_of(said: Control, before: Control | None) -> Change | None:
    """What a message, after one of the same key, changes of its stream's state, if it does."""
    match said:
        case StreamControl(paused=True) if not (isinstance(before, StreamControl) and before.paused):
            return _after(missed)
        case ForgetControl():
            return lambda _state: new_state()
        case FeedbackControl():
            patterns = [(int(key, 16), int(size)) for key, _, size in (p.partition(".") for p in said.patterns)]
            return _after(lambda state: teach(state, patterns, said.verdict))
        case AnchorControl():
            return _after(reset_anchor)
        case _:
            return None


def _after(change: Callable[[State], None]) -> Change:
    def apply(state: State) -> State:
        change(state)
        return state

    return apply


def as_of(rules: Rules, frame: int) -> Rules:
    """The rules before `frame`."""
    found = {key: tuple(rule for rule in versions if rule.frame < frame) for key, versions in rules.items()}
    return {key: versions for key, versions in found.items() if versions}


def pruned(rules: Rules, frame: int) -> Rules:
    """The rules without what no frame from `frame` on can see."""
    found = {}
    for key, versions in rules.items():
        old = sum(rule.frame < frame for rule in versions)
        found[key] = versions[max(0, old - 1) :]
    return found


@dataclass(frozen=True)
class Asked:
    """What is wanted of a stream. Events received before `muted_until` (ms) are scored and learned, and nothing is told of them."""

    controls: Controls
    muted_until: int = 0
    paused: bool = False

    def at(self, time: int) -> Controls:
        """The controls of what happens at `time`, ms."""
        return Controls(self.controls.sensitivity, 0) if time < self.muted_until else self.controls

    def mute_ends(self, now: int) -> int:
        """When a mute that is not over at `now` (ms) ends, and a silence that waits is looked at again."""
        return self.muted_until if now <= self.muted_until else _FOREVER


def asked_of(rules: Rules, organization_id: str, stream: str, default: Controls) -> Asked:
    """What is wanted of a stream: its own sensitivity, else the organization's, else the installation's; mute and pause."""
    if not rules:
        return Asked(default)
    own = _last(rules, f"stream/{organization_id}/{stream}")
    theirs = _last(rules, f"settings/{organization_id}")
    until, paused = 0, False
    if isinstance(own, StreamControl):
        until, paused = _FOREVER if own.muted else own.muted_until or 0, own.paused
    for said in (own, theirs):
        if isinstance(said, StreamControl | SettingsControl) and said.sensitivity is not None:
            return Asked(Controls(said.sensitivity / 1_000, default.budget_per_day), until, paused)
    return Asked(default, until, paused)


def portions(
    asked: Asked, chosen: NDArray[np.int64], times: NDArray[np.int64], past: NDArray[np.bool_]
) -> list[tuple[NDArray[np.int64], Controls, bool]]:
    """A block's events (`chosen`, received at `times`) cut where a mute ends or begins, and where those of the past (`past`) do.

    Each run has its controls, and whether it is of the past: that is told to nobody.
    """
    if not asked.muted_until and not past.any():
        return [(chosen, asked.controls, False)]
    kind = 2 * past + (times < asked.muted_until)
    cuts = np.flatnonzero(kind[1:] != kind[:-1]) + 1
    return [
        (run, untold(asked.controls) if past[first] else asked.at(int(times[first])), bool(past[first]))
        for run, first in zip(np.split(chosen, cuts), (0, *cuts.tolist()), strict=True)
    ]


def _last(rules: Rules, key: str) -> Control | None:
    versions = rules.get(key)
    return versions[-1].said if versions else None


def plain(rules: Rules) -> dict[str, list[Any]]:
    """Rules as JSON holds them."""
    return {key: [[r.frame, r.said.model_dump(mode="json")] for r in versions] for key, versions in rules.items()}


def from_plain(value: Mapping[str, Any]) -> Rules:
    """Rules of what `plain` gave."""
    return {
        key: tuple(Rule(frame, KINDS[said["kind"]].model_validate(said, strict=False)) for frame, said in versions)
        for key, versions in value.items()
    }
