"""The messages of the topics `anomalies`, `usage`, `dead-letters` and `control`, as JSON.

Integers named `*_bits`, `bits` and `surprisal` are in units of 2^-16 bit (a surprisal is -log2 of a p-value); times are
milliseconds of UTC since 1970.
"""

from typing import Annotated, Literal, Self
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

BIT = 1 << 16
"""Units of a score in one bit."""

Severity = Literal["low", "medium", "high", "critical"]
Stream = Annotated[str, Field(min_length=1, max_length=128)]
Pattern = Annotated[str, Field(pattern=r"^[0-9a-f]{16}\.[0-9]{1,18}$")]
"""What an anomaly was told for: a key and a size, as the detector's feedback takes them."""


class BadMessage(ValueError):
    """A message does not fit its model; the text names each field, its value and what is expected."""


class Message(BaseModel):
    """What all messages share: frozen, strict, unknown fields kept out."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    def to_bytes(self) -> bytes:
        """The message as JSON; the same message gives the same bytes."""
        return orjson.dumps(self.model_dump(mode="json"))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The message of some JSON; `BadMessage` says in one line which fields do not fit."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'message'}: {e['msg']}" for e in error.errors())
            raise BadMessage(said) from error


class Position(Message):
    """A place in the `blocks` topic: the frame's partition and offset, and the event's index in the frame."""

    topic_id: str
    partition: int
    frame: int
    event: int


class TokenEvidence(Message):
    """One token or field: the bits it cost, and how often it was expected and seen."""

    token: str
    bits: int
    expected: str
    seen: str


class Explanation(Message):
    """Why an episode is an anomaly, for a person."""

    sentence: str
    tokens: tuple[TokenEvidence, ...]
    event: str
    nearest_normal: str | None


class WindowMetrics(Message):
    """CBAD's metrics of the window against the baseline; sizes in bytes as zstd (`library`) gives them, ratios in 1/65536."""

    baseline_bytes: int
    window_bytes: int
    both_bytes: int
    window_raw_bytes: int
    compression_ratio: int
    delta_bits_per_byte: int
    ncd: int
    entropy: int
    permutation_p: int
    library: str


class Anomaly(Message):
    """One revision of an anomaly: an episode that was reported. The id is also its usage id."""

    v: Literal[1] = 1
    id: UUID
    revision: int
    organization_id: UUID
    stream: Stream
    event_type: str
    kind: str
    severity: Severity
    created_at: int
    last_at: int
    count: int
    open: bool
    calibrated: bool
    surprisal: int
    extrapolated: bool
    reference_n: int
    score_bits: int
    channels: dict[str, int]
    explanation: Explanation
    metrics: WindowMetrics
    first_event_id: UUID
    position: Position
    detector_version: str
    trace: str | None = None
    patterns: tuple[Pattern, ...] = ()


class AnomalyUsage(Message):
    """One reported episode: `count` units of usage, once per usage_id. Not calibrated: in warm-up, never billed."""

    v: Literal[1] = 1
    usage_id: UUID
    organization_id: UUID
    stream: Stream
    is_anomaly: Literal[True]
    count: Annotated[int, Field(ge=1, le=10_000)]
    calibrated: bool
    occurred_at: int
    position: Position
    detector_version: str


class StreamStanding(Message):
    """How a stream stands: warm once it has 1,000 scores to compare with; `per_day` events lately, `drift` from its anchor, 2^-16 bit."""

    stream: Stream
    events: Annotated[int, Field(ge=0)]
    reference_n: Annotated[int, Field(ge=0)]
    per_day: Annotated[int, Field(ge=0)]
    last_at: int
    anchor_n: Annotated[int, Field(ge=0)]
    drift: Annotated[int, Field(ge=0)] | None


class ScoredUsage(Message):
    """What one frame held of one organization: never billed. `opened` counts the opened episodes by floor(-log2 p).

    `skipped`: events of paused streams, which were not scored. `seeded`: events of the past, learned and told to nobody. `streams`: how those stand of which there is something new to say.
    """

    v: Literal[1] = 1
    usage_id: UUID
    organization_id: UUID
    is_anomaly: Literal[False]
    count: Annotated[int, Field(ge=0)]
    duplicates: Annotated[int, Field(ge=0)]
    skipped: Annotated[int, Field(ge=0)] = 0
    seeded: Annotated[int, Field(ge=0)] = 0
    opened: dict[str, int]
    occurred_at: int
    position: Position
    streams: tuple[StreamStanding, ...] = ()


def usage_from_bytes(data: bytes) -> AnomalyUsage | ScoredUsage:
    """The usage record of some JSON; `BadMessage` where is_anomaly is missing or a field does not fit."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadMessage(f"not JSON: {error}") from error
    flag = value.get("is_anomaly") if isinstance(value, dict) else None
    if not isinstance(flag, bool):
        raise BadMessage("is_anomaly: must be given as true or false")
    return AnomalyUsage.from_bytes(data) if flag else ScoredUsage.from_bytes(data)


class DeadLetter(Message):
    """What could not become an event, with its place; the original bytes are base64 so that any bytes fit."""

    v: Literal[1] = 1
    id: UUID
    stage: Literal["packer", "worker", "sink-anomalies", "sink-usage"]
    reason: str
    topic: str
    topic_id: str
    partition: int
    offset: int
    index: int
    received_at: int
    organization_id: str | None
    headers: tuple[tuple[str, str], ...]
    key: str | None
    body: str
    attempt: int = 1


class Event(BaseModel):
    """An event as a producer writes it in JSON: an object, in which two members are ours; both stay in it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    stream: Annotated[
        str | None,
        Field(min_length=1, max_length=128, description="the stream it belongs to; 128 bytes, no control characters"),
    ] = None
    event_id: Annotated[
        Annotated[str, Field(min_length=1, max_length=128)]
        | Annotated[int, Field(ge=-(1 << 63), le=(1 << 64) - 1)]
        | None,
        Field(description="names the event within its stream: a repeat is dropped within the stream's last 4,096 ids"),
    ] = None


class OrganizationControl(Message):
    """An organization is known (or no longer): control message with the key `organization/<id>`."""

    v: Literal[1] = 1
    kind: Literal["organization"] = "organization"
    id: UUID
    version: Annotated[int, Field(ge=0, lt=1 << 63)]
    active: bool = True


class SourceControl(Message):
    """Which topic the name of a source topic means: control message with the key `source/<topic>`, by packers for packers.

    It outlives the topic's stored offsets, which Kafka deletes with the topic. `epoch` counts the losses of offsets that a
    person accepted since, each of which starts a new life of the same topic.
    """

    v: Literal[1] = 1
    kind: Literal["source"] = "source"
    topic: str
    topic_id: str
    epoch: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
