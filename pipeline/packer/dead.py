"""Dead letters of the packer: what could not become an event, with its place and its bytes."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from schemas.identity import dead_letter_id
from schemas.models import DeadLetter
from schemas.topics import ATTEMPT_HEADER

MAX_BODY_BYTES = 14 << 20
"""Base64 grows by a third, and the topic takes 20 MiB; what is longer is cut here and whole at its place in the source."""

_MAX_TEXT = 32_768
_MAX_HEADERS = 64


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record came from, and what came with it."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    received_at: int
    organization_id: str | None
    headers: Iterable[tuple[str, bytes | str | None]]
    key: bytes | str | None


Stage = Literal["packer", "worker", "sink-anomalies", "sink-usage"]


def dead_letter(origin: Origin, index: int, reason: str, body: bytes, stage: Stage = "packer") -> tuple[bytes, bytes]:
    """Key and value of a message of the topic dead-letters."""
    if len(body) > MAX_BODY_BYTES:
        reason += f" (the first {MAX_BODY_BYTES} of its {len(body)} bytes are kept here, all are at its place)"
        body = body[:MAX_BODY_BYTES]
    headers: list[tuple[str, str]] = []
    room = _MAX_TEXT
    attempt = 1
    for name, value in origin.headers:
        shown = _shown(value) or ""
        if name.lower() == ATTEMPT_HEADER and shown.isascii() and shown.isdigit() and len(shown) < 7:
            attempt = max(1, int(shown))
        room -= len(name) + len(shown)
        if room < 0 or len(headers) == _MAX_HEADERS:
            break
        headers.append((name, shown))
    place = (origin.partition, origin.offset, index)
    letter = DeadLetter(
        id=dead_letter_id(origin.topic_id, *place),
        stage=stage,
        reason=reason,
        topic=origin.topic,
        topic_id=origin.topic_id,
        partition=origin.partition,
        offset=origin.offset,
        index=index,
        received_at=origin.received_at,
        organization_id=origin.organization_id,
        headers=tuple(headers),
        key=_shown(origin.key),
        body=base64.b64encode(body).decode(),
        attempt=attempt,
    )
    return f"{origin.topic}/{'/'.join(map(str, place))}".encode(), letter.to_bytes()


def _shown(value: bytes | str | None) -> str | None:
    """Text of bytes, those that are not UTF-8 as \\xNN."""
    if value is None:
        return None
    text = value if isinstance(value, str) else value[:_MAX_TEXT].decode("utf-8", "backslashreplace")
    return text[:_MAX_TEXT]
