"""Tell packers and workers of an organization, by the control topic."""

from uuid import UUID

from confluent_kafka import Producer


def organization(producer: Producer, organization_id: UUID, version: int = 1, *, active: bool = True) -> None:
    """Write the control message and wait until Kafka has it; `DeliveryFailed`. Again changes nothing."""
    raise NotImplementedError
