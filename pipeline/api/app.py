"""The FastAPI application: built from settings and checks, so that a test builds it without Kafka or PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pipeline.api import (
    routes_accounts,
    routes_alerts,
    routes_anomalies,
    routes_billing,
    routes_events,
    routes_otlp,
    routes_streams,
    routes_tenants,
)
from pipeline.api import status as statuses
from pipeline.api.bounds import SmallBodies
from pipeline.api.measured import QUIET, Measured
from pipeline.api.problems import MEDIA_TYPE, LastResort, Problem, register
from pipeline.api.serving import Serving
from pipeline.metrics import watch_loop

SCHEMA_VERSION = 1
_PROBLEM: dict[str, Any] = {"model": Problem, "description": "RFC 9457"}


def build(
    checks: Mapping[str, Callable[[], str]],
    detector_version: str,
    commit: str,
    serving: Serving | None = None,
    origins: tuple[str, ...] = (),
    hooks: Sequence[APIRouter] = (),
    status: statuses.Gatherer | None = None,
) -> FastAPI:
    """The API; each check returns what is wrong in one line, or nothing. Without `serving`: routes, and nothing behind them.

    `hooks` are called by others than tenants, and are no part of the document.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if serving is not None:
            serving.intake.start(asyncio.get_running_loop())
            serving.feed.start(asyncio.get_running_loop())
        watching = asyncio.create_task(watch_loop())
        yield
        watching.cancel()
        if serving is not None:
            serving.feed.stop()
            await serving.intake.stop()
            await asyncio.to_thread(serving.pools.close)

    app = FastAPI(
        title="DriftLock",
        version=version("driftlock"),
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        telemetry=QUIET,
        responses={"4XX": _PROBLEM, "5XX": _PROBLEM},
    )
    app.state.serving = serving
    register(app)
    app.add_middleware(SmallBodies)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-Match", "Last-Event-ID", "X-Stream"],
            expose_headers=["ETag", "Retry-After", "Idempotency-Key", "Idempotent-Replayed"],
        )
    app.add_middleware(LastResort)
    app.add_middleware(Measured)
    _own_routes(app, checks, detector_version, commit)
    app.include_router(statuses.route(status or statuses.Gatherer(())))
    for routes in (
        routes_accounts,
        routes_events,
        routes_otlp,
        routes_anomalies,
        routes_streams,
        routes_tenants,
        routes_alerts,
        routes_billing,
    ):
        app.include_router(routes.router)
    for hook in hooks:
        app.include_router(hook, include_in_schema=False)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, in which errors are problems, of their own media type."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, routes=app.routes)
        for operations in made["paths"].values():
            for operation in operations.values():
                for status in ("4XX", "5XX"):
                    content = operation["responses"][status]["content"]
                    for kind in list(content):
                        content[MEDIA_TYPE] = content.pop(kind)
        app.openapi_schema = made
    return app.openapi_schema


def _own_routes(app: FastAPI, checks: Mapping[str, Callable[[], str]], detector_version: str, commit: str) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        said = await asyncio.gather(*(asyncio.to_thread(check) for check in checks.values()))
        failing = {name: wrong for name, wrong in zip(checks, said, strict=True) if wrong}
        return JSONResponse(
            {"status": "not ready" if failing else "ready", "failing": failing}, status_code=503 if failing else 200
        )

    @app.get("/v1/version")
    async def get_version() -> dict[str, str | int]:
        return {
            "version": app.version,
            "commit": commit,
            "schema_version": SCHEMA_VERSION,
            "detector_version": detector_version,
        }

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
