"""Who is who: ids of events, anomalies and usage records, all UUIDv5 of where they come from, never of content."""

import hashlib
import zlib
from collections.abc import Sequence
from uuid import UUID, uuid5

import numpy as np

_EVENT = UUID("6f1f3e0e-8f0b-5d63-9e3b-2d4d53a5a101")
_EVENT_BYTES = _EVENT.bytes
_ANOMALY = UUID("6f1f3e0e-8f0b-5d63-9e3b-2d4d53a5a102")
_SCORED = UUID("6f1f3e0e-8f0b-5d63-9e3b-2d4d53a5a103")
_DEAD = UUID("6f1f3e0e-8f0b-5d63-9e3b-2d4d53a5a104")
_REQUEST = UUID("6f1f3e0e-8f0b-5d63-9e3b-2d4d53a5a105")
_HEX = np.frombuffer("".join(f"{n:02x}" for n in range(256)).encode("ascii"), np.uint8).reshape(256, 2)
_PLACES = [at for at in range(36) if at not in {8, 13, 18, 23}]
"""Where the digits of a UUID's text stand."""


def placed_event_id(topic_id: str, partition: int, offset: int, index: int) -> UUID:
    """Id of an event whose producer gave none: its place in the source topic."""
    return uuid5(_EVENT, f"place/{topic_id}/{partition}/{offset}/{index}")


def named_event_id(organization_id: str, stream: str, producer_id: str) -> UUID:
    """Id of an event whose producer gave one; it is unique per (organization, stream)."""
    return uuid5(_EVENT, f"id/{organization_id}/{stream}/{producer_id}")


def placed_event_bytes(topic_id: str, partition: int, offset: int, index: int) -> bytes:
    """The 16 bytes of `placed_event_id`: without the object, whose making costs four times the hash."""
    return _event_bytes(f"place/{topic_id}/{partition}/{offset}/{index}")


def named_event_bytes(organization_id: str, stream: str, producer_id: str) -> bytes:
    """The 16 bytes of `named_event_id`."""
    return _event_bytes(f"id/{organization_id}/{stream}/{producer_id}")


def _event_bytes(name: str) -> bytes:
    octets = bytearray(hashlib.sha1(_EVENT_BYTES + name.encode(), usedforsecurity=False).digest()[:16])
    octets[6] = octets[6] & 0x0F | 0x50
    octets[8] = octets[8] & 0x3F | 0x80
    return bytes(octets)


def named_event_ids(organization_id: str, stream: str, producer_ids: Sequence[bytes], before: bytes = b"") -> list[str]:
    """`named_event_id` of many events of one stream, as text, where the producer's id of each is `before` and then its own.

    Eight times as fast as one by one: the hash of what they share is made once.
    """
    shared = hashlib.sha1(_EVENT_BYTES + f"id/{organization_id}/{stream}/".encode() + before, usedforsecurity=False)
    digests = []
    for own in producer_ids:
        hashed = shared.copy()
        hashed.update(own)
        digests.append(hashed.digest())
    octets = np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), 20)[:, :16].copy()
    octets[:, 6] = octets[:, 6] & 0x0F | 0x50
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    text = np.full((len(digests), 36), ord("-"), np.uint8)
    text[:, _PLACES] = _HEX[octets].reshape(len(digests), 32)
    said = text.tobytes().decode("ascii")
    return [said[at : at + 36] for at in range(0, len(said), 36)]


def anomaly_id(organization_id: str, stream: str, event_id: UUID, *, silence: bool = False) -> UUID:
    """Id of an anomaly, and of its usage record: of the first event of its internal episode, or of the silence after an event."""
    return uuid5(_ANOMALY, f"{organization_id}/{stream}/{event_id}" + ("/silence" if silence else ""))


def request_name(organization_id: str, idempotency_key: str) -> UUID:
    """What names the events of an HTTP request: the one with index i has the producer's id `<name>/<i>`, if none of its own."""
    return uuid5(_REQUEST, f"{organization_id}/{idempotency_key}")


def scored_usage_id(topic_id: str, partition: int, frame: int, organization_id: str) -> UUID:
    """Id of the usage record that says what one frame held of one organization."""
    return uuid5(_SCORED, f"{topic_id}/{partition}/{frame}/{organization_id}")


def dead_letter_id(topic_id: str, partition: int, offset: int, index: int) -> UUID:
    """Id of a dead letter: the place of what could not be read."""
    return uuid5(_DEAD, f"{topic_id}/{partition}/{offset}/{index}")


def blocks_partition(organization_id: str, stream: str, partitions: int) -> int:
    """The partition of `blocks` that holds a stream: CRC-32 of organization/stream, the same in every release."""
    return zlib.crc32(f"{organization_id}/{stream}".encode()) % partitions
