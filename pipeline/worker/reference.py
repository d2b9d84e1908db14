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
        """The bytes that the detector keeps for an open episode; the index is negated where the event is one of the past."""
        event = ~self.event if self.seeded else self.event
        return _REFERENCE.pack(self.event_id.bytes, self.frame, event) + (self.trace or "").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Reference":
        """The reference of bytes that the detector gave back."""
        event_id, frame, event = _REFERENCE.unpack_from(data)
        trace = data[_REFERENCE.size :].decode() or None
        return cls(UUID(bytes=event_id), frame, max(event, ~event), trace, seeded=event < 0)
