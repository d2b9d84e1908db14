"""`POST /v1/events`: telemetry in, acknowledged when Kafka has it."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any
from uuid import UUID, uuid4

import orjson
from fastapi import APIRouter, Depends, Request, Response

from pipeline.accounts.errors import Invalid
from pipeline.accounts.roles import Principal
from pipeline.api import bounds, intake
from pipeline.api.intake import Batch, Rejected
from pipeline.api.problems import Answered
from pipeline.api.serving import Served, Serving, allowed, standing_of
from pipeline.tenants import requests
from schemas.records import Described
from schemas.topics import CONTENT_TYPE_HEADER, STREAM_HEADER, TRACE_HEADER

router = APIRouter(tags=["events"])
KEY_HEADER = "idempotency-key"
_AT_ONCE = 256 << 10


def header_parameters(*said: tuple[str, int, str]) -> list[dict[str, Any]]:
    """OpenAPI's words for headers that a request may have: name, most characters, what it says."""
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "schema": {"type": "string", "maxLength": most},
            "description": description,
        }
        for name, most, description in said
    ]


_EVENT: dict[str, Any] = {"anyOf": [{"type": "object"}, {"type": "string"}]}
_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"anyOf": [_EVENT, {"type": "array", "items": _EVENT}]}},
            "application/x-ndjson": _TEXT,
            "text/plain": _TEXT,
        },
    },
    "parameters": header_parameters(
        (
            "Idempotency-Key",
            128,
            "sent again with the same key and body, a request is answered the same and stored once",
        ),
        ("Content-Encoding", 16, "gzip or zstd"),
        ("X-Stream", 128, "stream of events that name none themselves"),
    ),
}


@dataclass(frozen=True)
class Accepted:
    """What became of each item: `ids` of the accepted ones in their order; the others with their index and the reason."""

    accepted: int
    ids: tuple[UUID, ...]
    rejected: tuple[Rejected, ...]


@router.post("/v1/events", status_code=202, response_model=Accepted, openapi_extra=BODY)
async def post_events(
    request: Request,
    served: Served,
    principal: Annotated[Principal, Depends(allowed("events:write"))],
) -> Response:
    """Send events: one, an array, or one a line; gzip or zstd. 202 once Kafka has acknowledged every accepted item."""
    await admitted(served, principal)
    given = one(request, KEY_HEADER)
    key = given or str(uuid4())
    if not 1 <= len(key) <= 128 or not key.isascii() or not key.isprintable():
        raise Invalid("Idempotency-Key must have 1 to 128 printable ASCII characters")
    content_type, stream = one(request, CONTENT_TYPE_HEADER), one(request, STREAM_HEADER)
    headers = [(CONTENT_TYPE_HEADER, content_type), (TRACE_HEADER, request.headers.get(TRACE_HEADER, ""))]
    if STREAM_HEADER in request.headers:
        # HTTP's headers are Latin-1 here; a name in UTF-8 came as its bytes.
        headers.append((STREAM_HEADER, stream))
    described = intake.describe([(name, value.encode("latin-1")) for name, value in headers])
    value = await bounds.body(request.stream(), one(request, "content-encoding"))
    batch = await _read(value, described, content_type, str(principal.organization_id), key)
    if given:
        said = hashlib.sha256(f"{content_type}\n{stream}\n".encode("latin-1") + value).digest()
        if await asyncio.to_thread(_begin, served, principal, key, said) == "done":
            return _accepted(batch, key, {"Idempotent-Replayed": "true"})
    try:
        await _send(served, principal.organization_id, batch)
    except BaseException as error:
        if given:
            await asyncio.to_thread(_release, served, principal, key)
        if isinstance(error, Answered):
            raise Answered(error.status, error.detail, {**error.more, "Idempotency-Key": key}) from error
        raise
    if given:
        await asyncio.to_thread(_finish, served, principal, key, len(batch.ids))
    return _accepted(batch, key)


async def _read(value: bytes, described: Described, content_type: str, organization_id: str, key: str) -> Batch:
    """A thread costs a tenth of a millisecond; a body that takes longer than that must not hold up the other requests."""
    asked = (value, described, content_type, organization_id, key)
    return intake.read(*asked) if len(value) <= _AT_ONCE else await asyncio.to_thread(intake.read, *asked)


async def _send(served: Serving, organization_id: UUID, batch: Batch) -> None:
    if organization_id not in served.announced:
        await asyncio.to_thread(served.require_announced, organization_id)
    await served.intake.send(batch, organization_id)


async def admitted(served: Serving, principal: Principal) -> None:
    """429 where the organization's cap blocks, or too much waits for Kafka."""
    if (await standing_of(served, principal)).blocked:
        raise Answered(
            429,
            "the cap of anomalies is reached and its mode is block: raise it, or wait for the next period",
            {"Retry-After": "3600"},
        )
    served.intake.require_room()


def one(request: Request, name: str) -> str:
    """The value of a header that may be given once."""
    given = request.headers.getlist(name)
    if len(set(given)) > 1:
        raise Answered(400, f"the header {name} is given twice, and differs")
    return given[0] if given else ""


def _accepted(batch: Batch, key: str, more: Mapping[str, str] = MappingProxyType({})) -> Response:
    """An `Accepted`, written at once: through models a thousand ids take longer than all else that is done for them."""
    said = {"accepted": len(batch.ids), "ids": batch.ids, "rejected": batch.rejected}
    return Response(orjson.dumps(said), 202, {"Idempotency-Key": key, **more}, "application/json")


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _begin(served: Serving, principal: Principal, key: str, body_hash: bytes) -> str:
    with served.tenants() as connection:
        return requests.begin(connection, principal.organization_id, _hash(key), body_hash, served.now())


def _finish(served: Serving, principal: Principal, key: str, accepted: int) -> None:
    with served.tenants() as connection:
        requests.finish(connection, principal.organization_id, _hash(key), accepted=accepted)


def _release(served: Serving, principal: Principal, key: str) -> None:
    with served.tenants() as connection:
        requests.release(connection, principal.organization_id, _hash(key), served.now())
