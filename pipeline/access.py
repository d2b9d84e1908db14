"""What Kafka lets an organization's own principal do: write its own source topic, and nothing else."""

from confluent_kafka import KafkaException
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from pipeline import kafka, topics
from schemas.errors import BrokerUnreachable, DriftlockError
from schemas.settings import Settings
from schemas.topics import organization_topic

_TIMEOUT = 10.0


def bindings(organization_id: str, principal: str) -> list[AclBinding]:
    """The rules of a principal (`User:name`): WRITE and DESCRIBE on its topic, from any host. No group, no other topic.

    An idempotent producer needs no more: since Kafka 2.8 the right to write a topic covers it.
    """
    return [
        AclBinding(
            ResourceType.TOPIC,
            organization_topic(organization_id).name,
            ResourcePatternType.LITERAL,
            principal,
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        for operation in (AclOperation.WRITE, AclOperation.DESCRIBE)
    ]


def grant(settings: Settings, organization_id: str, principal: str) -> str:
    """Make the organization's topic, and its rules; returns the topic's name. May be repeated."""
    name = organization_topic(organization_id).name
    if not topics.ORGANIZATION_TOPIC.fullmatch(name):
        raise DriftlockError(f"the organization {organization_id}: must be a UUID in lower case")
    if not principal.startswith("User:") or principal in {"User:", "User:*"}:
        raise DriftlockError(f"the principal {principal}: must be User:<name> of one user")
    topics.apply(settings, organizations=[organization_id])
    client = kafka.admin(settings)
    for future in client.create_acls(bindings(organization_id, principal), request_timeout=_TIMEOUT).values():
        try:
            future.result(timeout=_TIMEOUT + 1)
        except TimeoutError as error:
            raise BrokerUnreachable(f"Kafka does not make the rules within {_TIMEOUT:.0f} s") from error
        except KafkaException as error:
            raise DriftlockError(
                f"Kafka does not make the rules of {principal}: {error.args[0].str()}; it needs an authorizer, and we need ALTER on the cluster"
            ) from error
    return name
