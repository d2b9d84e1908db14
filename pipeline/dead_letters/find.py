"""Dead letters by filter, each once, in the order of the topic's partitions."""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from pipeline import history
from schemas.models import BadMessage, DeadLetter
from schemas.settings import Settings
from schemas.topics import DEAD_LETTERS


@dataclass(frozen=True)
class Wanted:
    """Which letters: text within the reason (any case), organization, append time in ms, stage, ids. Nothing given: all."""

    reason: str = ""
    organization: str = ""
    since: int | None = None
    stage: str = ""
    ids: frozenset[UUID] = frozenset()

    def fits(self, letter: DeadLetter) -> bool:
        """Whether a letter is one of them (its time apart)."""
        return (
            self.reason.lower() in letter.reason.lower()
            and self.organization.lower() in {"", (letter.organization_id or "").lower()}
            and self.stage in {"", letter.stage}
            and (not self.ids or letter.id in self.ids)
        )


def find(settings: Settings, wanted: Wanted) -> Iterator[DeadLetter]:
    """The letters of the topic as it is now. A message that is no letter, or of a later release, is passed over: nobody else writes there."""
    seen: set[UUID] = set()
    within = history.bounds(settings, DEAD_LETTERS.name, since=wanted.since)
    for message in history.messages(settings, DEAD_LETTERS.name, within):
        try:
            letter = DeadLetter.from_bytes(message.value() or b"")
        except BadMessage:
            continue
        if letter.id not in seen and wanted.fits(letter):
            seen.add(letter.id)
            yield letter


def body(letter: DeadLetter) -> bytes:
    """The original bytes; nothing where the letter's text is no base64."""
    try:
        return base64.b64decode(letter.body, validate=True)
    except binascii.Error:
        return b""
