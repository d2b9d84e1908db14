"""The FastAPI application of the console, built from its parts, so that a test builds it too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from dashboards.console import pages, scans, security, upload
from dashboards.console.limits import Limit
from dashboards.console.problems import Problem

log = structlog.get_logger()


def build(parts: object = None) -> FastAPI:
    """The console."""
    jobs = scans.Scans()

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        forgetting = asyncio.create_task(scans.forget(jobs))
        try:
            yield
        finally:
            forgetting.cancel()
            with suppress(asyncio.CancelledError):
                await forgetting
            await asyncio.to_thread(scans.close, jobs)

    app = FastAPI(title="DriftLock console", docs_url=None, redoc_url=None, openapi_url=None, lifespan=living)
    app.add_middleware(security.secured)
    app.mount("/static", StaticFiles(directory=pages.STATIC), "static")
    app.include_router(upload.router(jobs, Limit(burst=6, every=20.0)))
    _errors(app)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/")
    async def first() -> Response:
        return RedirectResponse("/scan", 303)

    return app


def _errors(app: FastAPI) -> None:
    """Every error is a page of ours, with its status."""

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return pages.problem_page(request, error)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        known = {
            404: Problem(404, "There is no such page.", "Check the address, or go back to where you came from."),
            405: Problem(405, "This page can't be used like that.", "Go back and use its form."),
        }
        other = Problem(error.status_code, HTTPStatus(error.status_code).phrase + ".", "Go back and try again.")
        return pages.problem_page(request, known.get(error.status_code, other))

    @app.exception_handler(RequestValidationError)
    async def unfit(request: Request, _: RequestValidationError) -> Response:
        return pages.problem_page(request, Problem(400, "That address does not fit.", "Go back and use the page's links."))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        log.error("page failed", path=request.scope.get("route_path", ""), error=type(error).__name__)
        return pages.problem_page(request, Problem(500, "Something failed on our side.", "It is in our log. Try again."))
