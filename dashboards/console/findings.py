"""An anomaly as a person sees it: the same view of one that a scan found and of one that is stored.

Numbers of the record are integers in 2^-16, as schemas/models.py says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.console.wording import size
from schemas.models import BIT

_STRENGTHS = (24, 12, 6)


@dataclass(frozen=True)
class Segment:
    """A part of an event's text. `bits` (2^-16) where it is surprising, `strength` 1 to 4 for how it is shown."""

    text: str
    bits: int | None = None
    strength: int = 0


@dataclass(frozen=True)
class Token:
    """A part of the evidence. `share` of the largest, in percent, for its bar."""

    text: str
    bits: int
    seen: str
    expected: str
    share: int


@dataclass(frozen=True)
class Metric:
    """A metric of the window: its value, that of the baseline where there is one, and what it means."""

    name: str
    window: str
    baseline: str
    meaning: str


@dataclass(frozen=True)
class View:
    """What is shown of an anomaly beside its place and time."""

    sentence: str
    kind: str
    severity: str
    count: int
    calibrated: bool
    extrapolated: bool
    reference_n: int
    surprisal: int
    score_bits: int
    channels: tuple[tuple[str, int], ...]
    segments: tuple[Segment, ...]
    tokens: tuple[Token, ...]
    nearest: str | None
    metrics: tuple[Metric, ...]


def view(record: Mapping[str, Any]) -> View:
    """The view of an anomaly's record (a row of the table, or an update of the detector as a mapping)."""
    told = record["explanation"]
    largest = max((t["bits"] for t in told["tokens"]), default=1) or 1
    return View(
        sentence=told["sentence"],
        kind=record["kind"],
        severity=record["severity"],
        count=record["count"],
        calibrated=record["calibrated"],
        extrapolated=record["extrapolated"],
        reference_n=record["reference_n"],
        surprisal=record["surprisal"],
        score_bits=record["score_bits"],
        channels=tuple(sorted(record["channels"].items(), key=lambda c: -c[1])),
        segments=segments(told["event"], told["tokens"]),
        tokens=tuple(
            Token(t["token"], t["bits"], t["seen"], t["expected"], max(1, 100 * t["bits"] // largest))
            for t in told["tokens"]
        ),
        nearest=told["nearest_normal"],
        metrics=metrics(record["metrics"]),
    )


def segments(event: str, tokens: Sequence[Mapping[str, Any]]) -> tuple[Segment, ...]:
    """The event's text, cut where tokens of the evidence lie; the costliest token is placed first.

    >>> [s.text for s in segments('{"user": "eve", "x": "eve"}', [{"token": "x: eve", "bits": 9 << 16}])]
    ['{"user": "eve", "x": "', 'eve', '"}']
    """
    taken: list[tuple[int, int, int]] = []
    for token in sorted(tokens, key=lambda t: -int(t["bits"])):
        start, end = _place(event, str(token["token"]))
        if start < end and all(end <= a or b <= start for a, b, _ in taken):
            taken.append((start, end, int(token["bits"])))
    parts, at = [], 0
    for start, end, cost in sorted(taken):
        parts += [Segment(event[at:start]), Segment(event[start:end], cost, _strength(cost))]
        at = end
    parts.append(Segment(event[at:]))
    return tuple(part for part in parts if part.text)


def _place(event: str, token: str) -> tuple[int, int]:
    """Where a token lies in an event: (start, end), the same twice where it lies nowhere (an event's form has no place)."""
    if event.lstrip().startswith("{") and ": " in token:
        key, _, value = token.partition(": ")
        named = event.find(f'"{key}"')
        start = event.find(value, named + len(key) + 2) if named >= 0 and value else -1
        if start >= 0:
            return start, start + len(value)
    start = event.find(token) if token else -1
    return (start, start + len(token)) if start >= 0 else (0, 0)


def _strength(cost: int) -> int:
    return 4 - next((i for i, least in enumerate(_STRENGTHS) if cost >= least * BIT), len(_STRENGTHS))


def metrics(said: Mapping[str, Any]) -> tuple[Metric, ...]:
    """The window against its baseline, a plain line for each metric."""
    window, baseline, both = said["window_bytes"], said["baseline_bytes"], said["both_bytes"]
    return (
        Metric(
            "Compressed size",
            size(window),
            size(baseline),
            f"What {said['library']} makes of the recent events and of normal ones; together {size(both)}.",
        ),
        Metric(
            "Compression ratio",
            f"{said['compression_ratio'] / BIT:.2f}",
            "",
            "How many times smaller the recent events become. The more they repeat themselves, the larger.",
        ),
        Metric(
            "Extra bits a byte",
            f"{said['delta_bits_per_byte'] / BIT:+.3f}",
            "0",
            "What a byte of the recent events costs more than one of the baseline. Above 0: harder to predict than normal.",
        ),
        Metric(
            "Compression distance (NCD)",
            f"{said['ncd'] / BIT:.3f}",
            "0",
            "0: knowing the normal events says all about the recent ones. 1: it says nothing.",
        ),
        Metric(
            "Entropy",
            f"{said['entropy'] / BIT:.3f} bits a byte",
            "",
            "How evenly bytes are used: plain text is near 4 to 5, random or encrypted data near 8.",
        ),
        Metric(
            "Permutation p-value",
            f"{said['permutation_p'] / BIT:.3f}",
            "",
            "How often a random division of the same events looks as different as this one. Below 0.05 is hardly chance.",
        ),
    )
