"""The FastAPI application: built from settings and checks, so that a test builds it without Kafka or PostgreSQL."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

SCHEMA_VERSION = 1


def build(
    checks: Mapping[str, Callable[[], str]], detector_version: str, commit: str, routers: Sequence[APIRouter] = ()
) -> FastAPI:
    """The API; each check returns what is wrong in one line, or nothing. `routers` are what it serves besides."""
    app = FastAPI(title="DriftLock", version=version("driftlock"), docs_url=None, redoc_url=None)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
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

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    for router in routers:
        app.include_router(router)
    return app
