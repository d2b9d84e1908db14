"""`POST /webhooks/stripe`: the raw body is bounded, verified and stored, then answered with 200; it is applied elsewhere."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import psycopg
import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from billing import webhooks
from billing.events import BadEvent, WrongMode
from billing.stripe_gateway import BadSignature
from pipeline.metrics import counter
from schemas.settings import Settings

RECEIVED = counter("driftlock_webhook_received_total")
log = structlog.get_logger(__name__)

Store = Callable[[bytes, str], bool]
"""(raw body, Stripe-Signature) → whether the event was new; raises as `billing.webhooks.receive` does."""


def storing(settings: Settings, clock: Callable[[], datetime]) -> Store:
    """Store events as the API's own role, with a connection for each: they are few."""
    secrets = webhooks.secrets_of(settings.stripe_webhook_secrets.get_secret_value())
    url = settings.database_url_api.get_secret_value()

    def store(body: bytes, header: str) -> bool:
        if not secrets:
            raise BadSignature("STRIPE_WEBHOOK_SECRETS is not set: no webhook can be verified")
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            return webhooks.receive(connection, body, header, secrets, clock())

    return store


def route(store: Store) -> APIRouter:
    """The route; `store` runs in a thread."""
    router = APIRouter()

    @router.post("/webhooks/stripe")
    async def receive(request: Request) -> JSONResponse:
        body = await _body(request)
        if body is None:
            return _answer(413, f"the body is larger than {webhooks.MOST_BYTES} bytes")
        try:
            new = await asyncio.to_thread(store, body, request.headers.get("Stripe-Signature", ""))
        except (BadSignature, BadEvent, WrongMode) as error:
            log.warning("webhook refused", reason=type(error).__name__, said=str(error))
            return _answer(400, str(error))
        except psycopg.Error as error:
            log.error("webhook not stored", error=type(error).__name__)  # noqa: TRY400 one line
            return _answer(503, "the event can't be stored now: send it again later")
        return _answer(200, "stored" if new else "known")

    return router


async def _body(request: Request) -> bytes | None:
    """The raw body, or None as soon as it is known to be too large."""
    declared = request.headers.get("Content-Length", "0")
    if declared.isascii() and declared.isdigit() and int(declared) > webhooks.MOST_BYTES:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > webhooks.MOST_BYTES:
            return None
    return bytes(body)


def _answer(status: int, said: str) -> JSONResponse:
    RECEIVED.labels(str(status)).inc()
    if status == 200:
        return JSONResponse({"status": said})
    return JSONResponse({"title": said, "status": status}, status_code=status, media_type="application/problem+json")
