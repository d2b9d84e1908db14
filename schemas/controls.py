"""What tenants say to workers, as messages of the topic `control`: the packer copies each into every partition of `blocks`.

A message replaces the one before it of the same key; `version` grows with each, and a worker passes over one that is not newer.
Times are milliseconds of UTC since 1970.
"""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from schemas.models import Message, Pattern, Stream

Version = Annotated[int, Field(ge=1, lt=1 << 63)]
Thousandths = Annotated[int, Field(ge=0, le=1_000)]
Time = Annotated[int, Field(ge=0, lt=1 << 53)]


class SettingsControl(Message):
    """What an organization wants reported. `sensitivity` in thousandths, null: the installation's."""

    v: Literal[1] = 1
    kind: Literal["settings"] = "settings"
    organization_id: UUID
    version: Version
    sensitivity: Thousandths | None = None

    @property
    def key(self) -> str:
        """The message's key."""
        return f"settings/{self.organization_id}"


class StreamControl(Message):
    """What an organization wants of one stream. `sensitivity` null: the organization's.

    `muted`, or until `muted_until`: scored and learned, nothing told. `paused`: not scored, counted as skipped.
    """

    v: Literal[1] = 1
    kind: Literal["stream"] = "stream"
    organization_id: UUID
    stream: Stream
    version: Version
    sensitivity: Thousandths | None = None
    muted: bool = False
    muted_until: Time | None = None
    paused: bool = False

    @property
    def key(self) -> str:
        """The message's key."""
        return f"stream/{self.organization_id}/{self.stream}"


class ForgetControl(Message):
    """What was learned of a stream is forgotten: its next event is its first."""

    v: Literal[1] = 1
    kind: Literal["forget"] = "forget"
    organization_id: UUID
    stream: Stream
    version: Version

    @property
    def key(self) -> str:
        """The message's key."""
        return f"forget/{self.organization_id}/{self.stream}"


class FeedbackControl(Message):
    """What a person said of an anomaly: its patterns are normal in its stream, are confirmed, or neither any more."""

    v: Literal[1] = 1
    kind: Literal["feedback"] = "feedback"
    organization_id: UUID
    stream: Stream
    version: Version
    anomaly_id: UUID
    verdict: Literal["normal", "confirmed", "none"]
    patterns: Annotated[tuple[Pattern, ...], Field(max_length=32)]

    @property
    def key(self) -> str:
        """The message's key."""
        return f"feedback/{self.organization_id}/{self.anomaly_id}"


class AnchorControl(Message):
    """A stream's present becomes its anchor."""

    v: Literal[1] = 1
    kind: Literal["anchor"] = "anchor"
    organization_id: UUID
    stream: Stream
    version: Version

    @property
    def key(self) -> str:
        """The message's key."""
        return f"anchor/{self.organization_id}/{self.stream}"


Control = SettingsControl | StreamControl | ForgetControl | FeedbackControl | AnchorControl
KINDS: dict[str, type[Control]] = {
    "settings": SettingsControl,
    "stream": StreamControl,
    "forget": ForgetControl,
    "feedback": FeedbackControl,
    "anchor": AnchorControl,
}
