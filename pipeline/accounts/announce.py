"""Tell packers and workers of an organization, by the control topic."""

from uuid import UUID

from confluent_kafka import Producer

from pipeline import kafka
from schemas.models import OrganizationControl
from schemas.topics import CONTROL


def organization(producer: Producer, organization_id: UUID, version: int = 1, *, active: bool = True) -> None:
    """Write the control message and wait until Kafka has it; `DeliveryFailed`. Again changes nothing."""
    known = OrganizationControl(id=organization_id, version=version, active=active)
    kafka.deliver(producer, CONTROL.name, [(f"organization/{organization_id}", known.to_bytes())])
