"""The FastAPI application of the console, built from its parts, so that a test builds it too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from urllib.parse import urlencode

import psycopg
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException

from dashboards.console import (
    accounts,
    alerts,
    feed,
    money,
    organization,
    pages,
    scans,
    security,
    session,
    streams,
    upload,
)
from dashboards.console.limits import Limit
from dashboards.console.parts import Parts
from dashboards.console.problems import Problem
from dashboards.console.session import LoginNeeded
from pipeline.accounts.errors import Refused
from pipeline.api.measured import QUIET, Measured
from pipeline.metrics import watch_loop
from schemas.errors import BillingRefused

log = structlog.get_logger()


def build(parts: Parts | None) -> FastAPI:
    """The console; without parts only what needs no account."""
    jobs = scans.Scans()

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        background = [asyncio.create_task(scans.forget(jobs)), asyncio.create_task(watch_loop())]
        if parts is not None:
            parts.hub.start()
        try:
            yield
        finally:
            for task in background:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await asyncio.to_thread(scans.close, jobs)

    app = FastAPI(
        title="DriftLock console", docs_url=None, redoc_url=None, openapi_url=None, lifespan=living, telemetry=QUIET
    )
    app.state.parts = parts
    app.add_middleware(security.secured)
    app.add_middleware(Measured)
    app.mount("/static", StaticFiles(directory=pages.STATIC), "static")
    app.include_router(upload.router(jobs, Limit(burst=6, every=20.0)))
    for module in (accounts, feed, streams, money, organization, alerts):
        app.include_router(module.routes)
    _probes(app, parts)
    _errors(app)

    @app.get("/")
    def first(request: Request) -> Response:
        known = app.state.parts is not None and session.look(request) is not None
        return RedirectResponse("/anomalies" if known else "/scan", 303)

    return app


def _probes(app: FastAPI, parts: Parts | None) -> None:
    """Whether the process lives, whether its database answers, and its metrics."""

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        if parts is None:
            return JSONResponse({"status": "ready", "failing": {}})
        try:
            for pool in (parts.pools.tenants, parts.pools.accounts):
                with pool.connection(timeout=2.0) as connection:
                    connection.execute("SELECT 1")
        except (psycopg.Error, PoolTimeout):
            said = {"database": "PostgreSQL does not answer"}
            return JSONResponse({"status": "not ready", "failing": said}, status_code=503)
        return JSONResponse({"status": "ready", "failing": {}})

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _errors(app: FastAPI) -> None:
    """Every error is a page of ours, with its status."""

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return pages.problem_page(request, error)

    @app.exception_handler(LoginNeeded)
    async def login(request: Request, _: LoginNeeded) -> Response:
        after = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        where = {"next": after} if request.method == "GET" else {}
        return RedirectResponse("/login?" + urlencode(where), 303)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        pause = getattr(error, "retry_after", None)
        return pages.problem_page(
            request, Problem(error.status, _sentence(error), "Go back and try again.", retry_after=pause)
        )

    @app.exception_handler(BillingRefused)
    async def against_the_books(request: Request, error: BillingRefused) -> Response:
        return pages.problem_page(request, Problem(422, _sentence(error), "Go back and choose another value."))

    @app.exception_handler(psycopg.OperationalError)
    @app.exception_handler(PoolTimeout)
    async def unreachable(request: Request, error: Exception) -> Response:
        log.error("the database does not answer", error=type(error).__name__)
        return pages.problem_page(
            request, Problem(503, "The database does not answer.", "Try again in a minute.", retry_after=60)
        )

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        known = {
            404: Problem(404, "There is no such page.", "Check the address, or go back to where you came from."),
            405: Problem(405, "This page can't be used like that.", "Go back and use its form."),
        }
        other = Problem(error.status_code, HTTPStatus(error.status_code).phrase + ".", "Go back and try again.")
        return pages.problem_page(request, known.get(error.status_code, other))

    @app.exception_handler(RequestValidationError)
    async def unfit(request: Request, _: RequestValidationError) -> Response:
        return pages.problem_page(
            request, Problem(400, "That address does not fit.", "Go back and use the page's links.")
        )

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        log.error("a page failed", error=type(error).__name__)
        return pages.problem_page(
            request, Problem(500, "Something failed on our side.", "It is in our log. Try again.")
        )


def _sentence(error: Exception) -> str:
    said = str(error).rstrip(".")
    return said[:1].upper() + said[1:] + "."
