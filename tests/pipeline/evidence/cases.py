"""Random bundles from seeded worlds, as a worker's outputs would be exported; nothing of them comes from Kafka."""

import random
from collections.abc import Iterator
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


def cases(seed: int, events: int = 1_500) -> Iterator[Case]:
    """A bundle for each anomaly of a world."""
    frames = worlds.world(seed, events)
    rng = random.Random(seed)
    revisions: dict[UUID, list[bytes]] = {}
    units: dict[UUID, AnomalyUsage] = {}
    for said in shadow.score(frames, worlds.TOPIC_ID, CONTROLS, SETTINGS):
        for output in said.outputs:
            if output.topic == ANOMALIES.name:
                revisions.setdefault(Anomaly.from_bytes(output.value).id, []).append(output.value)
            elif isinstance(unit := usage_from_bytes(output.value), AnomalyUsage):
                units[unit.usage_id] = unit
    for identity, told in revisions.items():
        yield _case(frames, Anomaly.from_bytes(told[-1]), tuple(told), units[identity], rng)


def _case(
    frames: list[Numbered], newest: Anomaly, told: tuple[bytes, ...], unit: AnomalyUsage, rng: random.Random
) -> Case:
    source = Source(str(newest.organization_id), newest.stream, worlds.TOPIC_ID, 0, CONTROLS)
    course = steps(frames, source.organization_id, source.stream)
    found = cut(course, source, newest.id, newest.position.frame, Start())
    rows = booked(unit, rng) if rng.random() < 0.5 else ()
    bundle = Bundle(source, versions(), found.anomaly, found.usage, found.state, found.steps, rows)
    return Case(bundle, reseal(bundle), told)


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
