"""Anomalies as they were told beside those of a shadow: same, changed, only then, only now."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from pipeline.replay.shadow import Said
from schemas.models import Anomaly
from schemas.topics import ANOMALIES


@dataclass(frozen=True)
class Wanted:
    """Which anomalies: begun from `since` and before `until` (ms), of one organization, of one stream. Nothing given: all."""

    since: int = 0
    until: int = 1 << 62
    organization: UUID | None = None
    stream: str = ""

    def fits(self, anomaly: Anomaly) -> bool:
        """Whether an anomaly is one of them."""
        return (
            self.since <= anomaly.created_at < self.until
            and self.organization in {None, anomaly.organization_id}
            and self.stream in {"", anomaly.stream}
        )


@dataclass
class Told:
    """An anomaly: its newest message, a digest of each revision, and the frame (partition, offset) that led to it, where known."""

    newest: Anomaly
    digests: dict[int, bytes] = field(default_factory=dict)
    frames: dict[int, tuple[int, int]] = field(default_factory=dict)


Anomalies = dict[UUID, Told]


@dataclass(frozen=True)
class Differences:
    """Anomalies by what became of them; `later`: found in frames that no worker had finished when it was asked."""

    same: tuple[UUID, ...]
    changed: tuple[UUID, ...]
    only_then: tuple[UUID, ...]
    only_now: tuple[UUID, ...]
    later: tuple[UUID, ...]

    @property
    def any(self) -> bool:
        """Whether there is a difference."""
        return bool(self.changed or self.only_then or self.only_now)


def gather(values: Iterable[tuple[bytes, tuple[int, int] | None]], wanted: Wanted) -> Anomalies:
    """The wanted anomalies among messages of the topic `anomalies`, each with the frame that led to it where it is known."""
    found: Anomalies = {}
    for value, frame in values:
        anomaly = Anomaly.from_bytes(value)
        if not wanted.fits(anomaly):
            continue
        told = found.setdefault(anomaly.id, Told(anomaly))
        if anomaly.revision >= told.newest.revision:
            told.newest = anomaly
        told.digests[anomaly.revision] = hashlib.blake2b(value, digest_size=16).digest()
        if frame is not None:
            told.frames[anomaly.revision] = frame
    return found


def of_shadow(said: Iterable[Said]) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """The messages of the topic `anomalies` that a shadow would have sent, with their frames."""
    for one in said:
        for output in one.outputs:
            if output.topic == ANOMALIES.name:
                yield output.value, (one.partition, one.offset)


def compare(then: Anomalies, now: Anomalies, handled: Mapping[int, int], *, exact: bool) -> Differences:
    """What differs. Frames of a partition before `handled` were finished by a worker before `then` was read.

    `exact`: every revision, byte by byte; else by ids alone.
    """
    same: list[UUID] = []
    changed: list[UUID] = []
    only_now: list[UUID] = []
    later: list[UUID] = []
    for identity, shadow in now.items():
        due = {r for r, (partition, frame) in shadow.frames.items() if frame < handled.get(partition, 0)}
        told = then.get(identity)
        if told is None:
            (only_now if due else later).append(identity)
        elif exact and not _equal(told.digests, shadow.digests, due):
            changed.append(identity)
        else:
            same.append(identity)
    only_then = [identity for identity in then if identity not in now]
    return Differences(tuple(same), tuple(changed), tuple(only_then), tuple(only_now), tuple(later))


def _equal(told: Mapping[int, bytes], shadow: Mapping[int, bytes], due: set[int]) -> bool:
    """Every revision that was told is the shadow's, and none that was due is missing."""
    return all(shadow.get(r) == digest for r, digest in told.items()) and all(r in told for r in due)


def units(found: Anomalies) -> int:
    """Billable units of anomalies: one each, once its stream was warm."""
    return sum(told.newest.calibrated for told in found.values())
