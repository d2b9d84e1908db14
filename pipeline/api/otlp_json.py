"""OTLP's JSON as protobuf: the same messages, spelt as the specification says and protobuf's own JSON does not."""

import base64
import binascii
from typing import Any

import orjson
from google.protobuf import json_format

from schemas import otlp

_IDS = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})
_DEPTH = 100
MAX_PARTS = 500_000
"""Objects and arrays of a batch: fifty for each of the 10,000 records that a request may have. Bounds the time that one takes."""


def to_protobuf(value: bytes, signal: str) -> bytes:
    """A batch in protobuf; `ValueError` says in one line why it is none. Members that are not known are left out.

    Ids are hexadecimal in OTLP's JSON and base64 in protobuf's. No map of OTLP has keys of the user's, so a member with the
    name of an id is one.
    """
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    if type(parsed) is not dict:
        raise ValueError("a batch must be a JSON object")
    _ids_to_base64(parsed)
    message = otlp.MESSAGES[signal]()
    try:
        json_format.ParseDict(parsed, message, ignore_unknown_fields=True, max_recursion_depth=_DEPTH)
    except (json_format.ParseError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not OTLP {signal} in JSON: {' '.join(str(error).split())[:300]}") from error
    return bytes(message.SerializeToString())


def _ids_to_base64(parsed: dict[str, Any]) -> None:
    left: list[Any] = [parsed]
    parts = 0
    while left:
        part = left.pop()
        parts += 1
        if parts > MAX_PARTS:
            raise ValueError(f"a batch has more than {MAX_PARTS} objects and arrays")
        if type(part) is list:
            left += [element for element in part if type(element) in {dict, list}]
            continue
        for name, member in part.items():
            if type(member) in {dict, list}:
                left.append(member)
            elif name in _IDS and type(member) is str:
                try:
                    part[name] = base64.b64encode(binascii.unhexlify(member)).decode()
                except ValueError as error:
                    raise ValueError(f"{name} is not hexadecimal") from error
