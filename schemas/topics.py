"""The one list of topics: names, keys, partitions, retention, sizes. `driftlock topics apply` makes them so."""

from dataclasses import dataclass, field

DAY_MS = 86_400_000
MIB = 1 << 20


@dataclass(frozen=True)
class Topic:
    """One Kafka topic. `partitions` = 0 means the deployment's TOPIC_PARTITIONS."""

    name: str
    key: str
    what: str
    partitions: int = 0
    retention_ms: int = 14 * DAY_MS
    max_message_bytes: int = MIB
    log_append_time: bool = True
    compacted: bool = False
    compression: str = "producer"
    extra: dict[str, str] = field(default_factory=dict)

    def config(self) -> dict[str, str]:
        """The topic's settings as Kafka spells them."""
        return {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
            "message.timestamp.type": "LogAppendTime" if self.log_append_time else "CreateTime",
            "compression.type": self.compression,
            **self.extra,
        }


EVENTS = Topic(
    "events",
    "any (the packer groups by organization and stream)",
    "telemetry from our API and trusted collectors; the organization is in the header x-organization-id",
    max_message_bytes=16 * MIB,
)
OTLP_LOGS, OTLP_METRICS, OTLP_TRACES = (
    Topic(
        f"otlp-{signal}",
        "any (collectors: organization_id)",
        f"OTLP batches of {signal} in protobuf, from our API and trusted collectors; the organization is in the header x-organization-id",
        max_message_bytes=6 * MIB,
    )
    for signal in ("logs", "metrics", "traces")
)
OTLP = {"logs": OTLP_LOGS, "metrics": OTLP_METRICS, "traces": OTLP_TRACES}
"""The topic of each signal; its records are batches of that signal, whatever their headers leave out."""

SHARED_SOURCES = (EVENTS, *OTLP.values())
"""Source topics whose records each say their organization in a header: written by who is trusted to say it."""

SEEDS = Topic(
    "seeds",
    "organization_id/stream",
    "events of the past, by an operator's `driftlock backfill --seed`: learned before a stream's own first event, and told to nobody",
    max_message_bytes=EVENTS.max_message_bytes,
)
SOURCES = (*SHARED_SOURCES, SEEDS)
"""All source topics that are there in every installation. Only in `seeds` the header `x-time` counts; no process of ours writes it."""

SIGNALS = {topic.name: signal for signal, topic in OTLP.items()}
CONTROL = Topic(
    "control",
    "kind/id",
    "organizations and settings; one packer copies each message into every partition of blocks",
    partitions=1,
    compacted=True,
)
BLOCKS = Topic(
    "blocks",
    "none (the packer chooses the partition by organization and stream)",
    "frames: runs of events of many streams, zstd compressed (schemas/frames.py)",
    max_message_bytes=8 * MIB,
)
ANOMALIES = Topic("anomalies", "organization_id", "anomalies, one message a revision")
USAGE = Topic("usage", "organization_id", "usage records: units, and what was scored and is not billed")
DEAD_LETTERS = Topic(
    "dead-letters",
    "topic/partition/offset/index",
    "input that could not become an event: original bytes, place and reason",
    max_message_bytes=20 * MIB,
)
WORKER_APP = "driftlock-worker"
STATES = Topic(
    f"{WORKER_APP}-states-changelog",
    "organization_id/stream",
    "the workers' saved stream states (changelog of the Faust table `states`)",
    max_message_bytes=4 * MIB,
    compacted=True,
    log_append_time=False,
    extra={"min.cleanable.dirty.ratio": "0.2", "segment.bytes": str(64 * MIB)},
)

TOPICS = (*SOURCES, CONTROL, BLOCKS, ANOMALIES, USAGE, DEAD_LETTERS, STATES)

ORGANIZATION_HEADER = "x-organization-id"
STREAM_HEADER = "x-stream"
TRACE_HEADER = "traceparent"
CONTENT_TYPE_HEADER = "content-type"
EVENT_IDS_HEADER = "x-event-ids"
TIME_HEADER = "x-time"
"""When the event of a record of `seeds` was, in ms of UTC since 1970."""

SIGNAL_HEADER = "otelcol.signal"
"""A collector's own name for it: what a batch holds, so that one topic may have all signals."""

OTLP_CONTENT_TYPE = "application/x-protobuf"
ATTEMPT_HEADER = "x-attempt"
DEFAULT_STREAM = "default"

MAX_EVENT_BYTES = 64 * 1024
MAX_STREAM_BYTES = 128
MAX_ID_BYTES = 128


def organization_topic(organization_id: str) -> Topic:
    """An organization's own source topic, so that an ACL can bind its principal."""
    return Topic(
        f"{EVENTS.name}.{organization_id}", EVENTS.key, EVENTS.what, max_message_bytes=EVENTS.max_message_bytes
    )
