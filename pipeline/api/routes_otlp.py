"""`POST /v1/logs`, `/v1/metrics`, `/v1/traces`: OTLP over HTTP, acknowledged when Kafka has it."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from pipeline.accounts.roles import Principal
from pipeline.api import bounds, otlp_json
from pipeline.api.intake import MAX_ITEMS, Batch, describe
from pipeline.api.problems import Answered
from pipeline.api.routes_events import admitted, header_parameters, one
from pipeline.api.serving import Served, Serving, allowed
from schemas import otlp
from schemas.records import Described
from schemas.topics import (
    CONTENT_TYPE_HEADER,
    OTLP,
    OTLP_CONTENT_TYPE,
    SIGNAL_HEADER,
    STREAM_HEADER,
    TRACE_HEADER,
)

router = APIRouter(tags=["otlp"])
JSON = "application/json"

_PARTIAL = {
    "logs": (ExportLogsServiceResponse, "rejected_log_records"),
    "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
    "traces": (ExportTraceServiceResponse, "rejected_spans"),
}
_REJECTED = {"logs": "rejectedLogRecords", "metrics": "rejectedDataPoints", "traces": "rejectedSpans"}


def _document(signal: str) -> dict[str, Any]:
    said = {
        "type": "object",
        "properties": {
            "partialSuccess": {
                "type": "object",
                "properties": {_REJECTED[signal]: {"type": "string"}, "errorMessage": {"type": "string"}},
            }
        },
    }
    binary: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
    return {
        "requestBody": {
            "required": True,
            "description": "an export request of OTLP",
            "content": {OTLP_CONTENT_TYPE: binary, JSON: {"schema": {"type": "object"}}},
        },
        "parameters": header_parameters(
            ("Content-Encoding", 16, "gzip or zstd"),
            (
                "X-Stream",
                128,
                "one stream for all, in place of one a service; the attribute driftlock.stream goes before",
            ),
        ),
        "responses": {"200": {"description": "stored", "content": {OTLP_CONTENT_TYPE: binary, JSON: {"schema": said}}}},
    }


Writer = Annotated[Principal, Depends(allowed("events:write"))]


@router.post("/v1/logs", response_class=Response, openapi_extra=_document("logs"))
async def post_logs(request: Request, served: Served, principal: Writer) -> Response:
    """Send log records by OTLP. 200 once Kafka has acknowledged all that are not rejected."""
    return await _post(request, served, principal, "logs")


@router.post("/v1/metrics", response_class=Response, openapi_extra=_document("metrics"))
async def post_metrics(request: Request, served: Served, principal: Writer) -> Response:
    """Send metric points by OTLP. 200 once Kafka has acknowledged all that are not rejected."""
    return await _post(request, served, principal, "metrics")


@router.post("/v1/traces", response_class=Response, openapi_extra=_document("traces"))
async def post_traces(request: Request, served: Served, principal: Writer) -> Response:
    """Send spans by OTLP. 200 once Kafka has acknowledged all that are not rejected."""
    return await _post(request, served, principal, "traces")


async def _post(request: Request, served: Serving, principal: Principal, signal: str) -> Response:
    await admitted(served, principal)
    content_type = one(request, CONTENT_TYPE_HEADER).partition(";")[0].strip().lower()
    if content_type not in {OTLP_CONTENT_TYPE, JSON}:
        raise Answered(415, f"Content-Type must be {OTLP_CONTENT_TYPE} or {JSON}")
    headers = [(SIGNAL_HEADER, signal), (TRACE_HEADER, request.headers.get(TRACE_HEADER, ""))]
    if STREAM_HEADER in request.headers:
        headers.append((STREAM_HEADER, one(request, STREAM_HEADER)))
    described = describe([(name, value.encode("latin-1")) for name, value in headers])
    value = await bounds.body(request.stream(), one(request, "content-encoding"))
    batch, rejected, reason = await asyncio.to_thread(read, value, described, is_json=content_type == JSON)
    if batch.runs:
        await asyncio.to_thread(served.require_announced, principal.organization_id)
        await served.intake.send(batch, principal.organization_id)
    return _answer(signal, rejected, reason, is_json=content_type == JSON)


def read(value: bytes, described: Described, *, is_json: bool) -> tuple[Batch, int, str]:
    """What is to be stored of a body, how many of its records are not, and why the first of them is not.

    400 where none can be stored, 413 over 10,000 records. An empty batch is right, and nothing is stored of it.
    """
    signal = described.signal
    try:
        if is_json:
            value = otlp_json.to_protobuf(value, signal)
        message = otlp.parse(value, signal)
    except ValueError as error:
        raise Answered(400, str(error)) from error
    events, dead = otlp.read(value, signal, described.stream)
    if not events and [kind for _, kind, _, _ in dead] == ["empty"]:
        return _batch(described, ()), 0, ""
    count = otlp.count(message, signal)
    if count > MAX_ITEMS:
        raise Answered(413, f"a request may have {MAX_ITEMS} records, not {count}")
    if not events:
        raise Answered(400, dead[0][2])
    if dead:
        value = otlp.without(message, signal, {index for index, *_ in dead})
    return _batch(described, ((0, value, OTLP_CONTENT_TYPE),)), len(dead), dead[0][2] if dead else ""


def _batch(described: Described, runs: tuple[tuple[int, bytes, str], ...]) -> Batch:
    return Batch("", described.stream, described.trace, (), (), runs, OTLP[described.signal].name)


def _answer(signal: str, rejected: int, reason: str, *, is_json: bool) -> Response:
    kind, field = _PARTIAL[signal]
    message: Any = kind()
    if rejected:
        setattr(message.partial_success, field, rejected)
        message.partial_success.error_message = reason
    if is_json:
        return Response(json_format.MessageToJson(message, indent=None), media_type=JSON)
    return Response(message.SerializeToString(), media_type=OTLP_CONTENT_TYPE)
