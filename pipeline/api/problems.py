"""Errors as RFC 9457 says: application/problem+json with type, title, status and a detail of one line. No input is repeated."""

import http
from collections.abc import Mapping
from typing import Any

import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg_pool import PoolTimeout
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.accounts.errors import Refused, TooManyAttempts
from schemas.errors import BillingRefused, BrokerUnreachable, DatabaseUnreachable, DeliveryFailed, UnknownOrganization

MEDIA_TYPE = "application/problem+json"
_LOG = structlog.get_logger("pipeline.api")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class Answered(Exception):
    """A problem to be answered; `more` are headers, `extra` further members."""

    def __init__(
        self, status: int, detail: str, more: Mapping[str, str] | None = None, extra: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.more, self.extra = status, detail, more or {}, extra or {}


def answer(
    status: int, detail: str, more: Mapping[str, str] | None = None, extra: Mapping[str, Any] | None = None
) -> JSONResponse:
    """The response of a problem."""
    title = http.HTTPStatus(status).phrase
    said = {
        "type": f"urn:driftlock:problem:{title.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "detail": " ".join(detail.encode("utf-8", "replace").decode().split())[:1_000],
        **(extra or {}),
    }
    headers = {"Cache-Control": "no-store", **(more or {})}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="driftlock"'
    return JSONResponse(said, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def register(app: FastAPI) -> None:
    """Answer every error of a route as a problem."""

    @app.exception_handler(Refused)
    async def refused(_request: Request, error: Refused) -> JSONResponse:
        more = {"Retry-After": str(error.retry_after)} if isinstance(error, TooManyAttempts) else {}
        return answer(error.status, str(error), more)

    @app.exception_handler(Answered)
    async def answered(_request: Request, error: Answered) -> JSONResponse:
        return answer(error.status, error.detail, error.more, error.extra)

    @app.exception_handler(RequestValidationError)
    async def misfit(_request: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(f"{'.'.join(map(str, e['loc'][:4]))}: {e['msg']}" for e in error.errors()[:5])
        return answer(422, said)

    @app.exception_handler(HTTPException)
    async def other(_request: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(BillingRefused)
    async def books(_request: Request, error: BillingRefused) -> JSONResponse:
        return answer(409, str(error))

    @app.exception_handler(UnknownOrganization)
    async def unknown(_request: Request, error: UnknownOrganization) -> JSONResponse:
        return answer(404, str(error))

    @app.exception_handler(psycopg.DataError)
    async def data(_request: Request, _error: psycopg.DataError) -> JSONResponse:
        return answer(422, "a value does not fit: it is too large, or holds what no text may")

    for away in (
        PoolTimeout,
        psycopg.OperationalError,
        DatabaseUnreachable,
        BrokerUnreachable,
        DeliveryFailed,
    ):

        @app.exception_handler(away)
        async def unavailable(_request: Request, error: Exception) -> JSONResponse:
            _LOG.warning("unavailable", error=type(error).__name__)
            return answer(503, "something that this needs does not answer: try again", {"Retry-After": "5"})


class LastResort:
    """What no handler knows becomes a 500 that says nothing of it; the log names the error's class and line, no values."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            if scope["type"] != "http":
                raise
            last = error.__traceback__
            while last is not None and last.tb_next is not None:
                last = last.tb_next
            where = "" if last is None else f"{last.tb_frame.f_code.co_filename}:{last.tb_lineno}"
            _LOG.error("request failed", error=type(error).__name__, where=where, method=scope["method"])
            if not begun:
                await answer(500, "this is our fault, and it is logged")(scope, receive, send)
