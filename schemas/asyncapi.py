"""The AsyncAPI 3 document of the topics, made from the list of topics and the models; `driftlock generate` writes asyncapi.json.

Actions are those of this product: it receives what producers send. Only `events` and the topics of OTLP are written by others; the rest is shown
because operators read it. https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema

from schemas import controls, models
from schemas.topics import (
    ANOMALIES,
    BLOCKS,
    CONTENT_TYPE_HEADER,
    CONTROL,
    DEAD_LETTERS,
    EVENT_IDS_HEADER,
    EVENTS,
    MAX_STREAM_BYTES,
    ORGANIZATION_HEADER,
    OTLP,
    OTLP_CONTENT_TYPE,
    SEEDS,
    SHARED_SOURCES,
    SIGNAL_HEADER,
    SIGNALS,
    STATES,
    STREAM_HEADER,
    TIME_HEADER,
    TOPICS,
    TRACE_HEADER,
    USAGE,
    Topic,
    organization_topic,
)

ASYNCAPI = "3.0.0"
BINDING = "0.5.0"
Json = dict[str, Any]

MESSAGES: Mapping[str, tuple[type[models.Message], ...]] = {
    CONTROL.name: (models.OrganizationControl, models.SourceControl, *controls.KINDS.values()),
    ANOMALIES.name: (models.Anomaly,),
    USAGE.name: (models.AnomalyUsage, models.ScoredUsage),
    DEAD_LETTERS.name: (models.DeadLetter,),
}
"""The models whose JSON a topic holds."""

_WHO: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **{topic.name: (("api",), ("packer",)) for topic in SHARED_SOURCES},
    SEEDS.name: ((), ("packer",)),
    CONTROL.name: (("api", "control", "packer"), ("packer",)),
    BLOCKS.name: (("packer",), ("worker",)),
    ANOMALIES.name: (("worker",), ("sink-anomalies",)),
    USAGE.name: (("worker",), ("sink-usage",)),
    DEAD_LETTERS.name: (("packer", "worker", "sink-anomalies", "sink-usage"), ()),
    STATES.name: (("worker",), ("worker",)),
}
"""Which processes of ours write a topic, and which read it."""

_OBJECT: Json = {
    "type": "object",
    "description": "one event; `stream` and `event_id` belong to DriftLock and stay in the body",
    "properties": {
        "stream": {"type": "string", "minLength": 1, "maxLength": MAX_STREAM_BYTES},
        "event_id": {"oneOf": [{"type": "string", "minLength": 1}, {"type": "integer"}]},
    },
    "additionalProperties": True,
}
_EVENTS: Mapping[str, Json] = {
    "JsonEvents": {
        "contentType": "application/json",
        "summary": "one event, or an array of events",
        "payload": {"oneOf": [_OBJECT, {"type": "array", "items": {"oneOf": [_OBJECT, {"type": "string"}]}}]},
    },
    "LinesOfEvents": {
        "contentType": "application/x-ndjson",
        "summary": "an event a line",
        "payload": {"type": "string"},
    },
    "TextEvent": {"contentType": "text/plain", "summary": "one text event", "payload": {"type": "string"}},
}
_BATCHES: Mapping[str, Json] = {
    f"Otlp{signal.capitalize()}": {
        "contentType": OTLP_CONTENT_TYPE,
        "summary": f"one OTLP batch of {signal} in protobuf, as a collector's Kafka exporter writes it (otlp_proto)",
        "payload": {"type": "string", "format": "binary"},
    }
    for signal in OTLP
}
_HEADERS: Json = {
    "type": "object",
    "required": [ORGANIZATION_HEADER],
    "properties": {
        ORGANIZATION_HEADER: {"type": "string", "format": "uuid", "description": "whose events these are"},
        STREAM_HEADER: {"type": "string", "description": "stream of events that name none; else `default`"},
        CONTENT_TYPE_HEADER: {"type": "string", "description": "how the value is read; see schemas/records.py"},
        TRACE_HEADER: {"type": "string", "description": "W3C trace context"},
        SIGNAL_HEADER: {
            "type": "string",
            "enum": [*OTLP],
            "description": "what a batch of OTLP holds, where its topic does not say",
        },
        EVENT_IDS_HEADER: {"type": "string", "description": "<name>/<first>: ids of events that have none; our API's"},
    },
}
_OTHERS: Mapping[str, Json] = {
    BLOCKS.name: {
        "name": "Frame",
        "contentType": "application/octet-stream",
        "summary": "runs of events of many streams, zstd compressed: schemas/frames.py",
        "payload": {"type": "string", "format": "binary"},
    },
    STATES.name: {
        "name": "State",
        "contentType": "application/octet-stream",
        "summary": "a saved state of a stream: the workers' own",
        "payload": {"type": "string", "format": "binary"},
    },
    SEEDS.name: {
        "name": "EventOfThePast",
        "contentType": "application/json",
        "summary": "one event (an object, or text) to be learned and told to nobody: `driftlock backfill --seed` writes it",
        "headers": {
            "type": "object",
            "required": [ORGANIZATION_HEADER, TIME_HEADER],
            "properties": {
                **{name: _HEADERS["properties"][name] for name in (ORGANIZATION_HEADER, STREAM_HEADER)},
                TIME_HEADER: {"type": "string", "description": "when the event was, ms since 1970"},
            },
        },
        "payload": {"oneOf": [_OBJECT, {"type": "string"}]},
    },
}


def document() -> Json:
    """The document."""
    used = sorted({model for said in MESSAGES.values() for model in said}, key=lambda m: m.__name__)
    _, schemas = models_json_schema([(m, "serialization") for m in used], ref_template="#/components/schemas/{model}")
    messages: Json = {
        name: {"name": name, **said, "headers": _HEADERS} for name, said in {**_EVENTS, **_BATCHES}.items()
    }
    messages |= {said["name"]: said for said in _OTHERS.values()}
    for model in used:
        messages[model.__name__] = {
            "name": model.__name__,
            "contentType": "application/json",
            "summary": " ".join((model.__doc__ or "").split()),
            "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        }
    channels = {topic.name: _channel(topic) for topic in TOPICS}
    of_one = organization_topic("{organization_id}")
    channels["events-of-one-organization"] = {
        **_channel(of_one),
        "parameters": {"organization_id": {"description": "a topic that an ACL binds to the organization's principal"}},
    }
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "DriftLock's topics",
            "version": version("driftlock"),
            "description": " ".join((models.__doc__ or "").split()),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "{brokers}",
                "protocol": "kafka",
                "variables": {"brokers": {"default": "127.0.0.1:9092", "description": "KAFKA_BROKERS"}},
            }
        },
        "channels": channels,
        "operations": _operations(channels),
        "components": {"messages": messages, "schemas": _draft_07(schemas["$defs"])},
    }


def _channel(topic: Topic) -> Json:
    is_source = topic.name == EVENTS.name or topic.name.startswith(f"{EVENTS.name}.")
    names = [f"Otlp{SIGNALS[topic.name].capitalize()}"] if topic.name in SIGNALS else []
    names += [*_EVENTS, *_BATCHES] if is_source else [m.__name__ for m in MESSAGES.get(topic.name, ())]
    names += [_OTHERS[topic.name]["name"]] if topic.name in _OTHERS else []
    config: Json = {
        "cleanup.policy": ["compact" if topic.compacted else "delete"],
        "retention.ms": topic.retention_ms,
        "max.message.bytes": topic.max_message_bytes,
    }
    bindings: Json = {"topic": topic.name, "topicConfiguration": config, "bindingVersion": BINDING}
    if topic.partitions:
        bindings["partitions"] = topic.partitions
    return {
        "address": topic.name,
        "description": f"{topic.what}. Key: {topic.key}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"kafka": bindings},
    }


def _operations(channels: Mapping[str, Json]) -> Json:
    made: Json = {}
    for name in channels:
        writers, readers = _WHO[EVENTS.name if name == "events-of-one-organization" else name]
        for action, who in (("send", writers), ("receive", readers)):
            if action == "send" and name == "events-of-one-organization":
                continue
            for process in who:
                made[f"{process}-{action}s-{name}"] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{name}"},
                    "summary": f"{process} {'writes' if action == 'send' else 'reads'} {name}",
                }
    return made


def _draft_07(said: Any) -> Any:
    """A schema of draft 2020-12 as AsyncAPI's own dialect, draft 07, says it: tuples are arrays of `items` there."""
    if isinstance(said, list):
        return [_draft_07(one) for one in said]
    if not isinstance(said, dict):
        return said
    made = {name: _draft_07(value) for name, value in said.items()}
    if "prefixItems" in made:
        made["items"] = made.pop("prefixItems")
        made["additionalItems"] = False
    return made
