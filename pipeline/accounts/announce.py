"""Tell packers and workers of an organization, by the control topic."""

from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, Producer

from schemas.errors import DeliveryFailed
from schemas.models import OrganizationControl
from schemas.topics import CONTROL

_TIMEOUT = 30.0


def organization(producer: Producer, organization_id: UUID, version: int = 1, *, active: bool = True) -> None:
    """Write the control message and wait until Kafka has it; `DeliveryFailed`. Again changes nothing."""
    failed: list[KafkaError] = []
    done: list[bool] = []

    def delivered(error: KafkaError | None, _message: object) -> None:
        done.append(True)
        if error is not None:
            failed.append(error)

    known = OrganizationControl(id=organization_id, version=version, active=active)
    try:
        producer.produce(CONTROL.name, known.to_bytes(), f"organization/{organization_id}", on_delivery=delivered)
        producer.flush(_TIMEOUT)
    except (KafkaException, BufferError) as error:
        raise DeliveryFailed(f"the topic {CONTROL.name} can't be written: {error}") from error
    if failed or not done:
        raise DeliveryFailed(f"the topic {CONTROL.name} can't be written: {failed[0].str() if failed else 'time-out'}")
