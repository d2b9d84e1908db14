"""Which event an episode began with, as bytes that the detector keeps for us."""

import struct
from dataclasses import dataclass
from uuid import UUID

_REFERENCE = struct.Struct("<16sqi")


@dataclass(frozen=True)
class Reference:
    """Which event an episode began with (a silence: after which one): its id, its frame and index in it, its trace context.

    `seeded`: it is one of the past (`pipeline/worker/seeds.py`).
    """

    event_id: UUID
    frame: int
    event: int
    trace: str | None
    seeded: bool = False

    def to_bytes(self) -> bytes:
        """The bytes that the detector keeps for an open episode; the index's bits are turned where the event is one of the past."""
        return referred(self.event_id.bytes, self.frame, self.event, self.trace, seeded=self.seeded)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Reference":
        """The reference of bytes that the detector gave back."""
        event_id, frame, event = _REFERENCE.unpack_from(data)
        trace = data[_REFERENCE.size :].decode() or None
        return cls(UUID(bytes=event_id), frame, max(event, ~event), trace, seeded=event < 0)


def referred(event_id: bytes, frame: int, event: int, trace: str | None, *, seeded: bool) -> bytes:
    """The bytes of a reference, without the objects: each block asks for one."""
    return _REFERENCE.pack(event_id, frame, ~event if seeded else event) + (trace.encode() if trace else b"")
