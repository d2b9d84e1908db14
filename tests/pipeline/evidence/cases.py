"""Random bundles from seeded worlds, as a worker's outputs would be exported; nothing of them comes from Kafka."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from billing import ledger
from billing.chain import Head
from billing.ledger import Entry, Sealed
from detectors.detector import Controls
from pipeline.evidence import container
from pipeline.evidence.bundle import Bundle, Source, to_parts, versions
from pipeline.evidence.course import steps
from pipeline.evidence.cut import Start, cut
from pipeline.replay import shadow
from pipeline.replay.shadow import Numbered
from schemas.controls import Control, FeedbackControl, StreamControl
from schemas.models import Anomaly, AnomalyUsage, usage_from_bytes
from schemas.settings import Settings
from schemas.topics import ANOMALIES
from tests.pipeline.replay import worlds

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
CONTROLS = Controls(1.0, 10_000)
SETTINGS = Settings()


@dataclass(frozen=True)
class Case:
    """A bundle, sealed, with what workers told of its anomaly."""

    bundle: Bundle
    sealed: bytes
    told: tuple[bytes, ...]


def reseal(bundle: Bundle, key: Ed25519PrivateKey = KEY) -> bytes:
    """The bytes of a bundle."""
    newest = Anomaly.from_bytes(bundle.anomaly[-1])
    return container.seal(to_parts(bundle), {"anomaly": str(newest.id)}, key)


def told(frames: Iterable[Numbered]) -> list[Anomaly]:
    """The newest message of each anomaly."""
    said = shadow.score(frames, worlds.TOPIC_ID, CONTROLS, SETTINGS)
    values = [output.value for one in said for output in one.outputs if output.topic == ANOMALIES.name]
    return list({a.id: a for a in map(Anomaly.from_bytes, values)}.values())


def spoken(seed: int, events: int) -> list[Numbered]:
    """A world in which the organization says this and that at any time."""
    frames = worlds.going_on(worlds.world(seed, events), 8)
    return worlds.with_said(frames, worlds.spoken(seed, frames, told(frames)))


def interrupted(seed: int, events: int) -> list[Numbered]:
    """A world in which the organization says something right after each episode's first event: another level and a mute of
    moments, its verdict, a pause of a few frames, its end."""
    frames = worlds.world(seed, events)
    said: dict[int, list[Control]] = {}
    for n, anomaly in enumerate(sorted(told(frames), key=lambda anomaly: anomaly.position.frame)):
        at = anomaly.position.frame - frames[0].offset + 1
        if at + 8 >= len(frames):
            continue
        of: dict[str, Any] = {"organization_id": anomaly.organization_id, "stream": anomaly.stream}
        verdict: Control = FeedbackControl(
            **of, version=n + 1, anomaly_id=anomaly.id, verdict="confirmed", patterns=anomaly.patterns
        )
        until = frames[at].frame.ranges[0].through + 300
        for later, control in (
            (0, StreamControl(**of, version=3 * n + 1, sensitivity=990, muted_until=until)),
            (2, verdict),
            (4, StreamControl(**of, version=3 * n + 2, paused=True)),
            (8, StreamControl(**of, version=3 * n + 3, sensitivity=1_000)),
        ):
            said.setdefault(at + later, []).append(control)
    return worlds.with_said(frames, said)


def cases(seed: int, events: int = 1_500) -> Iterator[Case]:
    """A bundle for each anomaly of a world."""
    return of(worlds.world(seed, events), seed)


def of(frames: list[Numbered], seed: int, controls: Controls = CONTROLS) -> Iterator[Case]:
    """A bundle for each anomaly of a log; some with entries of the ledger."""
    rng = random.Random(seed)
    revisions: dict[UUID, list[bytes]] = {}
    units: dict[UUID, AnomalyUsage] = {}
    for said in shadow.score(frames, worlds.TOPIC_ID, controls, SETTINGS):
        for output in said.outputs:
            if output.topic == ANOMALIES.name:
                revisions.setdefault(Anomaly.from_bytes(output.value).id, []).append(output.value)
            elif isinstance(unit := usage_from_bytes(output.value), AnomalyUsage):
                units[unit.usage_id] = unit
    for identity, values in revisions.items():
        yield _case(frames, tuple(values), units[identity], controls, rng)


def _case(
    frames: list[Numbered], values: tuple[bytes, ...], unit: AnomalyUsage, controls: Controls, rng: random.Random
) -> Case:
    newest = Anomaly.from_bytes(values[-1])
    source = Source(str(newest.organization_id), newest.stream, worlds.TOPIC_ID, 0)
    course = steps(frames, source.organization_id, source.stream, controls)
    found = cut(course, source, newest.id, newest.position.frame, Start())
    rows = booked(unit, rng) if rng.random() < 0.5 else ()
    bundle = Bundle(source, versions(), found.anomaly, found.usage, found.state, found.steps, rows)
    return Case(bundle, reseal(bundle), values)


def booked(unit: AnomalyUsage, rng: random.Random) -> tuple[Sealed, ...]:
    """A unit's entry in a chain, with the one before and after it."""

    def entry(usage_id: UUID) -> Entry:
        fields: dict[str, Any] = {
            **dict.fromkeys(("arrived_at", "recorded_at", "meter_hour", "period_start"), unit.occurred_at),
            **dict.fromkeys(("part", "plan_version", "usage_partition", "usage_offset"), 0),
            **dict.fromkeys(("count", "units"), 1),
            **dict.fromkeys(("corrects", "customer_id")),
            "late": False,
            "plan": "standard",
            "reason": "",
        }
        return Entry(
            organization_id=unit.organization_id,
            kind="usage",
            disposition="billable",
            usage_id=usage_id,
            stream=unit.stream,
            occurred_at=unit.occurred_at,
            blocks_topic_id=unit.position.topic_id,
            blocks_partition=unit.position.partition,
            frame=unit.position.frame,
            event=unit.position.event,
            usage_topic_id="usage",
            detector_version=unit.detector_version,
            **fields,
        )

    others = [UUID(int=rng.getrandbits(128)) for _ in range(2)]
    sealed, _ = ledger.seal(Head(41, rng.randbytes(32)), [entry(i) for i in (others[0], unit.usage_id, others[1])])
    return tuple(sealed)
