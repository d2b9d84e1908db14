"""Log records and spans of OTLP as members of an event, and attributes as JSON.

| record | members, in this order |
|---|---|
| log record | body, severity, severity_number, event_name, attributes, trace_id, span_id |
| span | name, kind, status, status_message, duration_ns, parent, attributes, events, links, trace_id, span_id, parent_span_id, trace_state |

`severity` is the record's text, else the name of its number, and the number is left out where the text is its name. `parent` is the
name of the parent span where that is in the same batch. Ids and bytes are hexadecimal. Counts of what was dropped are not kept.
"""

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_SEVERITIES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_KINDS = ("", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("", "ok", "error")
_INT64 = (1 << 63) - 1


def attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes as a JSON object; of a key that comes twice the last value."""
    return {pair.key: any_value(pair.value) for pair in pairs}


def any_value(value: AnyValue) -> Any:  # noqa: PLR0911 - a table of cases
    """A value as JSON: bytes in hexadecimal, numbers that JSON lacks by name, none as null."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "int_value":
            return value.int_value
        case "double_value":
            return number(value.double_value)
        case "bool_value":
            return value.bool_value
        case "array_value":
            return [any_value(element) for element in value.array_value.values]
        case "kvlist_value":
            return attributes(value.kvlist_value.values)
        case "bytes_value":
            return value.bytes_value.hex()
        case _:
            return None


def number(value: float) -> float | str:
    """A number, those that JSON does not have by their names."""
    if value - value == 0:
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124 what NaN is known by


def scope(of: InstrumentationScope) -> dict[str, Any]:
    """An instrumentation scope; empty where it says nothing."""
    said = {"name": of.name, "version": of.version, "attributes": attributes(of.attributes)}
    return {name: value for name, value in said.items() if value}


def log(record: LogRecord, own: dict[str, Any]) -> dict[str, Any]:
    """The members of a log record with these attributes."""
    level = int(record.severity_number)
    name = ""
    if 0 < level <= 4 * len(_SEVERITIES):
        name = _SEVERITIES[(level - 1) // 4] + ("", "2", "3", "4")[(level - 1) % 4]
    text = record.severity_text or name
    return {
        "body": any_value(record.body),
        "severity": text,
        "severity_number": level if level and (not name or text.upper() != name) else None,
        "event_name": record.event_name,
        "attributes": own,
        "trace_id": record.trace_id.hex(),
        "span_id": record.span_id.hex(),
    }


def span(of: Span, own: dict[str, Any], parent: str) -> dict[str, Any]:
    """The members of a span with these attributes; its duration is end less start, also where that is negative."""
    duration = of.end_time_unix_nano - of.start_time_unix_nano
    return {
        "name": of.name,
        "kind": _name(_KINDS, int(of.kind)),
        "status": _name(_STATUSES, int(of.status.code)),
        "status_message": of.status.message,
        "duration_ns": max(-_INT64, min(_INT64, duration)) if of.end_time_unix_nano else None,
        "parent": parent,
        "attributes": own,
        "events": [_without_empty({"name": e.name, "attributes": attributes(e.attributes)}) for e in of.events],
        "links": [
            _without_empty(
                {
                    "trace_id": link.trace_id.hex(),
                    "span_id": link.span_id.hex(),
                    "attributes": attributes(link.attributes),
                }
            )
            for link in of.links
        ],
        "trace_id": of.trace_id.hex(),
        "span_id": of.span_id.hex(),
        "parent_span_id": of.parent_span_id.hex(),
        "trace_state": of.trace_state,
    }


def _name(names: tuple[str, ...], number: int) -> str:
    return names[number] if 0 <= number < len(names) else str(number)


def _without_empty(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value}
