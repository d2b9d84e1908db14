"""What packers must know of the control topic: which organizations there are, and which topic a source's name means."""

import time
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from pipeline import kafka
from schemas.controls import KINDS
from schemas.controls import Control as Said
from schemas.errors import BrokerUnreachable
from schemas.models import BadMessage, OrganizationControl, SourceControl
from schemas.settings import Settings
from schemas.topics import CONTROL

_TIMEOUT = 30.0
_KINDS: dict[str, type[OrganizationControl | SourceControl | Said]] = {
    "organization": OrganizationControl,
    "source": SourceControl,
    **KINDS,
}


class Control:
    """The control topic read to its end, and followed by `poll`. `version` grows when what is known changes."""

    def __init__(self, settings: Settings) -> None:
        # The wait of a fetch bounds what a question about an unknown organization costs.
        self._consumer: Consumer = kafka.consumer(settings, f"{CONTROL.name}-reader", {"fetch.wait.max.ms": 50})
        self._next = OFFSET_BEGINNING
        self.organizations: set[str] = set()
        self.sources: dict[str, SourceControl] = {}
        self.version = 0
        self.catch_up()

    def poll(self) -> None:
        """Take what has arrived, without waiting."""
        for message in self._consumer.consume(1_000, 0):
            self._take(message)

    def catch_up(self) -> None:
        """Read up to the topic's end as it is now, or later."""
        # Assigned anew the client says again when it is at the end, on every kind of broker.
        self._consumer.assign([TopicPartition(CONTROL.name, 0, self._next)])
        deadline = time.monotonic() + _TIMEOUT
        while True:
            for message in self._consumer.consume(1_000, 0.01):
                if self._take(message):
                    return
            if time.monotonic() > deadline:
                raise BrokerUnreachable(f"the topic {CONTROL.name} can't be read to its end within {_TIMEOUT:.0f} s")

    def _take(self, message: Message) -> bool:
        error = message.error()
        if error is not None:
            return error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001
        self._next = (message.offset() or 0) + 1
        match parse(message.value()):
            case OrganizationControl(id=identity, active=active):
                (self.organizations.add if active else self.organizations.discard)(str(identity))
                self.version += 1
            case SourceControl() as source:
                self.sources[source.topic] = source
                self.version += 1
            case _:
                pass  # the packer that owns the control topic makes it a dead letter
        return False

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def parse(value: bytes | None) -> OrganizationControl | SourceControl | Said | str | None:
    """A control message; None for the deletion of one; what is wrong with it, where it is none."""
    if not value:
        return None
    try:
        said: Any = orjson.loads(value)
        kind = said.get("kind") if isinstance(said, dict) else None
        if not isinstance(kind, str) or kind not in _KINDS:
            return f"control messages of kind {kind!r} are not known to this release"
        return _KINDS[kind].from_bytes(value)
    except orjson.JSONDecodeError as error:
        return f"not JSON: {error}"
    except BadMessage as error:
        return str(error)


def remember(producer: Producer, source: SourceControl) -> None:
    """Write which topic a name means, and wait until Kafka has it."""
    kafka.deliver(producer, CONTROL.name, [(f"source/{source.topic}", source.to_bytes())], _TIMEOUT)
