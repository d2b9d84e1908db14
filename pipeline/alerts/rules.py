"""What a rule says of an anomaly: whether it tells it, with what it shares a cooldown, and until when it keeps quiet.

Pure: the time is an argument.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from schemas.models import Anomaly, Severity

Group = Literal["stream", "kind", "rule"]

SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")
"""From the least to the most severe."""


@dataclass(frozen=True)
class Quiet:
    """Hours of each day in a time zone, [start, end), over midnight where end is not after start.

    `below`: severities from this on are told all the same; None: none is.
    """

    start: time
    end: time
    zone: str
    below: Severity | None = None


@dataclass(frozen=True)
class Rule:
    """Which episodes of an organization are told, and how. `kinds` empty: every kind.

    `stream_pattern`: `*` any text, `?` a character, `[abc]` one of them. `updates`, `recovery`: later revisions and the end
    of an episode that was told are told too. `cooldown`: so long after a group was told, its other episodes are held back.
    """

    organization_id: UUID
    id: UUID
    name: str
    min_severity: Severity = "low"
    stream_pattern: str = "*"
    kinds: tuple[str, ...] = ()
    updates: bool = False
    recovery: bool = False
    group_by: Group = "stream"
    cooldown: timedelta = timedelta()
    quiet: Quiet | None = None
    muted_until: datetime | None = None


def matches(rule: Rule, anomaly: Anomaly) -> bool:
    """Whether a rule tells this revision of an anomaly of its organization. What is still warming up is told by none."""
    return (
        anomaly.calibrated
        and SEVERITIES.index(anomaly.severity) >= SEVERITIES.index(rule.min_severity)
        and (not rule.kinds or anomaly.kind in rule.kinds)
        and fnmatchcase(anomaly.stream, rule.stream_pattern)
    )


def group_key(rule: Rule, anomaly: Anomaly) -> str:
    """What shares the rule's cooldown with this anomaly."""
    return {"stream": anomaly.stream, "kind": f"{anomaly.kind}/{anomaly.stream}", "rule": ""}[rule.group_by]


def quiet_until(quiet: Quiet | None, severity: Severity, now: datetime) -> datetime | None:
    """The end of the quiet hours that keep an alert back at `now` (aware), in UTC; None where nothing does.

    A time of day that a zone skips or repeats is the one of the first offset (PEP 495, fold=0).
    """
    if quiet is None or (quiet.below and SEVERITIES.index(severity) >= SEVERITIES.index(quiet.below)):
        return None
    zone = ZoneInfo(quiet.zone)
    local = now.astimezone(zone)
    at = local.time()
    over_midnight = quiet.end <= quiet.start
    if not (at >= quiet.start or at < quiet.end) if over_midnight else not quiet.start <= at < quiet.end:
        return None
    day = local.date() + timedelta(days=1 if over_midnight and at >= quiet.start else 0)
    end = datetime.combine(day, quiet.end, zone).astimezone(UTC)
    return end if end > now else None
