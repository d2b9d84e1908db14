"""The detector: events of one stream in, scores and episodes out. The interface of this package; see README.md.

Scores depend on the order and recorded times of the stream's events alone: never on how they were cut into blocks, on
restarts, on the CPU or on what an organization wants reported. Numbers named bits, score or surprisal are int64 in 2^-16 bit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from detectors import feedback
from detectors import layout as at
from detectors.evidence import Explanation, TokenEvidence, WindowMetrics, explanation, metrics, span
from detectors.kernel import run
from detectors.layout import CHANNELS
from detectors.silence import OPENED, QUIET, UNKNOWN
from detectors.state import State, StateError, dump, load, make_room, new_state, room_for_ids
from detectors.tables import BIT, LOG2

__all__ = [
    "BIT", "CHANNELS", "DETECTOR_VERSION", "Controls", "EpisodeUpdate", "Events", "Explanation", "Results", "Severity", "State",
    "StateError", "Ticks", "TokenEvidence", "WindowMetrics", "due", "dump", "load", "missed", "new_state", "parted", "score", "severity", "untold", "warm_up",
]  # fmt: skip

DETECTOR_VERSION = "2"

Severity = Literal["low", "medium", "high", "critical"]
_SEVERITIES: tuple[tuple[int, Severity], ...] = ((1306235, "critical"), (1088529, "high"), (870824, "medium"))
"""Least surprisal of each band: p at most 1e-6, 1e-5, 1e-4; anything above is low."""
_STRICTEST = 1306235
_SLIDER = 870824
_NEVER = 1 << 40
_BYTE, _LONG, _HASH = np.dtype(np.uint8), np.dtype(np.int64), np.dtype(np.uint64)
SILENCE = -2
_SILENT = 2  # H_OPEN of an episode that no event began
_REASONS = {at.EMIT_CLOSED: "", at.EMIT_ADOPTED: "; after 8,192 events it is taken as the new normal"}


@dataclass(frozen=True)
class Events:
    """One block: n consecutive events of one stream.

    body uint8: all bodies one after another, body i is body[offsets[i]:offsets[i + 1]]; offsets int64[n + 1]; received_at
    int64[n], ms, when the broker appended it; id_hash uint64[n], hash of the producer's event id, 0 where none was given.
    `reference(i)` is at most 256 bytes that name event i; those of an episode's first event are kept and given back.
    """

    body: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    received_at: NDArray[np.int64]
    id_hash: NDArray[np.uint64]
    reference: Callable[[int], bytes]


@dataclass(frozen=True)
class Ticks:
    """How far time has come: all events received before `through` (ms) are in. A stream's silence begins without an event."""

    through: int


@dataclass(frozen=True)
class Controls:
    """What is reported; changes no score and no episode. Sensitivity 0 to 1: 1e-6 to 1e-2 false episodes an event, log-linear."""

    sensitivity: float = 0.5
    budget_per_day: int = 10


@dataclass(frozen=True)
class Results:
    """One row per event, int64[n, columns], read by the properties; `opened` counts opened internal episodes by floor(-log2 p).

    A duplicate has score 0, surprisal 0 and no episode. Columns are cut out when asked for: blocks of few events are frequent.
    """

    rows: NDArray[np.int64]
    opened: dict[int, int]

    @property
    def score(self) -> NDArray[np.int64]:
        """int64[n], bits in 2^-16: the largest channel."""
        return self.rows[:, at.R_SCORE]

    @property
    def channels(self) -> NDArray[np.int64]:
        """int64[n, len(CHANNELS)], bits in 2^-16."""
        return self.rows[:, at.R_CHANNEL :]

    @property
    def surprisal(self) -> NDArray[np.int64]:
        """int64[n]: -log2 p, 2^-16."""
        return self.rows[:, at.R_SURPRISAL]

    @property
    def reference_n(self) -> NDArray[np.int64]:
        """int64[n]: scores in the reference that gave p."""
        return self.rows[:, at.R_REFERENCE]

    @property
    def extrapolated(self) -> NDArray[np.bool_]:
        """bool[n]: p comes from the fitted tail."""
        return _flag(self.rows, at.F_EXTRAPOLATED)

    @property
    def duplicate(self) -> NDArray[np.bool_]:
        """bool[n]: its id is among the stream's last 4,096; not scored."""
        return _flag(self.rows, at.F_DUPLICATE)

    @property
    def episode(self) -> NDArray[np.int64]:
        """int64[n]: number of the internal episode that the event is a member of, or -1."""
        return self.rows[:, at.R_EPISODE]

    @property
    def reported(self) -> NDArray[np.bool_]:
        """bool[n]: a member of an episode that was reported by then."""
        return _flag(self.rows, at.F_REPORTED)


@dataclass(frozen=True)
class EpisodeUpdate:
    """A revision of a reported episode: when first reported, when its count doubles, when it closes.

    `index` is the last event of this call that was scored by then, -1 where none was: a silence begins, lasts and ends between
    two events. `silence`: no event began the episode; `reference` is that of the stream's last event before it. score, channels, surprisal and reference_n are those of its
    strongest event; `calibrated` says whether the reference held at least 1,000 scores when it was first reported. `patterns`: what it was
    told for so far, for `feedback.teach`.
    """

    index: int
    reference: bytes
    silence: bool
    revision: int
    started_at: int
    last_at: int
    count: int
    kind: str
    event_type: Literal["text", "json"]
    surprisal: int
    extrapolated: bool
    reference_n: int
    score_bits: int
    channels: dict[str, int]
    closed: bool
    calibrated: bool
    severity: Severity
    explanation: Explanation
    metrics: WindowMetrics
    patterns: tuple[feedback.Pattern, ...]


def score(
    state: State,
    events: Events,
    ticks: Ticks | None,
    controls: Controls,
) -> tuple[State, Results, list[EpisodeUpdate]]:
    """Score and learn a block, then let time go on to the ticks' `through`; the state is updated in place and returned.

    A silence that began before an event was received is found before that event is scored. So neither the cut into blocks
    nor how often ticks come changes what is found, only when: a tick before `due` changes nothing. ValueError where the
    columns do not fit together.
    """
    n = len(events.received_at)
    body, offsets = _column(events.body, _BYTE), _column(events.offsets, _LONG)
    times, hashes = _column(events.received_at, _LONG), _column(events.id_hash, _HASH)
    if len(offsets) != n + 1 or len(hashes) != n:
        raise ValueError(f"a block of {n} events has {len(offsets)} offsets and {len(hashes)} id hashes")
    level, budget = levels(controls)
    results = np.empty((n, at.COLUMNS), np.int64)
    updates: list[EpisodeUpdate] = []
    head = state.head
    if len(state.ids) == 0 and hashes.any():
        room_for_ids(state)
    through = -1 if ticks is None else ticks.through
    place, reason = 0, at.GROW_SLOTS
    while reason != at.DONE:
        place, reason = run(
            head, state.buckets, state.contexts, state.places, state.ring, state.slots, state.symbols, state.reference, state.samples, state.numbers, state.histograms, state.ids,
            state.index, state.seen, state.partners, state.tails, state.kinds, state.texts, state.timing, state.habits, body, offsets, times, hashes, place, results, level, budget, through,
        )  # fmt: skip
        if head[at.H_OPENED_AT] >= 0:
            state.first_event = events.reference(int(head[at.H_OPENED_AT]))
            head[at.H_OPENED_AT] = -1
        elif head[at.H_OPENED_AT] == SILENCE:
            scored = int(head[at.H_SCORED_AT])
            state.first_event = events.reference(scored) if scored >= 0 else state.last_event
            head[at.H_OPENED_AT] = -1
        if reason == at.DISORDER:
            raise ValueError(f"offset {place} of a block does not lie in order within its {len(body)} bytes")
        if reason in (at.GROW_SLOTS, at.GROW_SYMBOLS, at.GROW_PAIRS):
            make_room(state, reason)
        elif reason != at.DONE:
            updates.append(_update(state, int(place) - 1, reason))
    if (scored := int(head[at.H_SCORED_AT])) >= 0:
        state.last_event = events.reference(scored)
        head[at.H_SCORED_AT] = -1
    return state, Results(results, _opened(results) if n else {}), updates


def due(state: State) -> int:
    """Ticks through at most this time (ms) change nothing of the stream, under the controls of the last call."""
    return int(state.head[at.H_DUE])


def untold(state: State) -> bool:
    """Whether a silence has begun that is not told: other controls then change `due`, at the next call."""
    return bool(state.timing[at.G_STAGE] == OPENED)


def missed(state: State) -> None:
    """Events of the stream may be lost: what is missing up to its next event is no silence, unless it was told already."""
    if state.head[at.H_EVENTS] == 0:
        return
    if state.timing[at.G_STAGE] in {QUIET, OPENED}:
        state.timing[at.G_STAGE] = UNKNOWN
        if state.head[at.H_OPEN] == _SILENT:
            state.head[at.H_OPEN] = 0
    state.head[at.H_DUE] = at.NEVER


def parted(state: State, now: int) -> None:
    """Before the stream's next event, received at `now` (ms), lies a time of which nothing is known: it is cut out.

    What is missing is no silence and no lower rate, and an open episode, which must not have been told, is over. The usual gaps,
    rates and hours stay as they are; the spans that are counted begin anew.
    """
    missed(state)
    head, timing = state.head, state.timing
    head[at.H_OPEN] = 0
    gap = max(now - int(head[at.H_TIME]), 0)
    head[[at.H_TIME, at.H_RATE_T, at.H_MID_T]] += gap
    timing[[at.Y_FIRST, at.Y_BORN]] += gap


def warm_up() -> None:
    """Load or compile the kernels: seconds the first time on a machine, then a fraction of one."""
    body = np.frombuffer(b'a line of 1 event{"a":1}', np.uint8)
    ids = np.array([0, 1], np.uint64)
    events = Events(body, np.array([0, 17, 24]), np.zeros(2, np.int64), ids, lambda _: b"")
    state, _, _ = score(new_state(), events, None, Controls())
    make_room(state, at.GROW_SLOTS)
    load(dump(state))


@lru_cache(maxsize=1024)
def levels(controls: Controls) -> tuple[int, int]:
    """(least surprisal that is reported, log2 of the daily budget), 2^-16."""
    sensitivity = min(max(int(controls.sensitivity * 1_000_000 + 0.5), 0), 1_000_000)
    if controls.budget_per_day <= 0:
        return _NEVER, 0
    return _STRICTEST - sensitivity * _SLIDER // 1_000_000, int(LOG2[min(controls.budget_per_day, len(LOG2) - 1)])


def severity(surprisal: int) -> Severity:
    """The band of a surprisal, 2^-16 bit."""
    return next((name for least, name in _SEVERITIES if surprisal >= least), "low")


def _column(values: NDArray[Any], kind: np.dtype[Any]) -> NDArray[Any]:
    """Read-only, aligned and contiguous, so that one compiled kernel fits every caller."""
    if values.dtype != kind or not (values.flags.c_contiguous and values.flags.aligned):
        values = np.require(values, kind, ["C", "A"])
    column = values.view()
    column.flags.writeable = False
    return column


def _flag(rows: NDArray[np.int64], bit: int) -> NDArray[np.bool_]:
    flags: NDArray[np.bool_] = (rows[:, at.R_FLAGS] & bit) != 0
    return flags


def _opened(rows: NDArray[np.int64]) -> dict[int, int]:
    opened = rows[:, at.R_OPENED : at.R_SILENCE + 1]
    if opened.max() < 0:
        return {}
    values, counts = np.unique(opened[opened >= 0], return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _ending(state: State, reason: int) -> str:
    head = state.head
    if head[at.H_SILENT]:
        return "; after so long it is taken as the new normal." if reason == at.EMIT_ADOPTED else "."
    if reason == at.EMIT_DOUBLED and state.timing[at.G_STAGE] and head[at.H_PEAK_CHANNEL + at.CH_SILENCE] == 0:
        return f"; no event since, for {span(int(state.timing[at.G_AT] - head[at.H_TIME]))}."
    return _REASONS.get(reason, "") + "."


def _update(state: State, index: int, reason: int) -> EpisodeUpdate:
    head = state.head
    channels = head[at.H_PEAK_CHANNEL : at.H_PEAK_CHANNEL + at.N_CHANNELS]
    surprisal = int(head[at.H_PEAK_SURPRISAL])
    return EpisodeUpdate(
        index=index,
        reference=state.first_event,
        silence=bool(head[at.H_SILENT]),
        revision=int(head[at.H_REVISION]),
        started_at=int(head[at.H_STARTED]),
        last_at=int(head[at.H_LAST]),
        count=int(head[at.H_COUNT]),
        kind=CHANNELS[int(head[at.H_PEAK_KIND])],
        event_type="json" if head[at.H_JSON] else "text",
        surprisal=surprisal,
        extrapolated=bool(head[at.H_PEAK_EXTRAPOLATED]),
        reference_n=int(head[at.H_PEAK_REFERENCE]),
        score_bits=int(head[at.H_PEAK_SCORE]),
        channels={name: int(bits) for name, bits in zip(CHANNELS, channels, strict=True)},
        closed=reason in _REASONS,
        calibrated=bool(head[at.H_CALIBRATED]),
        severity=severity(surprisal),
        explanation=explanation(state, _ending(state, reason)),
        metrics=metrics(state),
        patterns=feedback.patterns(state),
    )
