"""The upload page: a log file in, its anomalies out; without an account, never metered, nothing kept."""

import time
from pathlib import PurePath

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.datastructures import FormData, UploadFile

from dashboards.console import limits, plots, scans, security
from dashboards.console.limits import Limit
from dashboards.console.pages import fragment, page
from dashboards.console.problems import Problem
from dashboards.console.scans import Job, Scans
from detectors.detector import Controls
from pipeline.scan.parse import Fields
from pipeline.scan.read import ScanInput

SENSITIVITIES = {"strict": 0.25, "balanced": 0.5, "sensitive": 0.75}


def router(jobs: Scans, limit: Limit) -> APIRouter:
    """The routes; `limit` is by client."""
    routes = APIRouter()

    @routes.get("/scan")
    async def form(request: Request) -> HTMLResponse:
        return page(request, "scan.html", wrong="", most=security.MAX_UPLOAD_BYTES, kept=round(scans.KEPT_SECONDS / 60))

    @routes.post("/scan")
    async def upload(request: Request) -> Response:
        _admit(request, jobs, limit)
        fields = await security.form(request)
        try:
            job = _submit(jobs, fields)
        except ScanInput as error:
            kept = round(scans.KEPT_SECONDS / 60)
            return page(request, "scan.html", status=400, wrong=str(error), most=security.MAX_UPLOAD_BYTES, kept=kept)
        finally:
            await fields.close()
        return RedirectResponse(f"/scan/{job.id}", 303)

    @routes.get("/scan/{job_id}")
    async def result(request: Request, job_id: str) -> HTMLResponse:
        return page(request, "scan_result.html", job=_job(jobs, job_id), kept=round(scans.KEPT_SECONDS / 60))

    @routes.get("/scan/{job_id}/progress")
    async def progress(job_id: str) -> HTMLResponse:
        job = _job(jobs, job_id)
        response = HTMLResponse(fragment("_scan_progress.html", job=job))
        if job.ended is not None:
            response.headers["hx-refresh"] = "true"
        return response

    @routes.get("/scan/{job_id}/plot.json")
    async def plot(job_id: str, stream: int = 0) -> JSONResponse:
        job = _job(jobs, job_id)
        if job.result is None or not 0 <= stream < len(job.result.panels):
            raise Problem(404, "There is no such plot.")
        return JSONResponse(plots.of_panel(job.result.panels[stream], timed=job.result.timed))

    return routes


def _admit(request: Request, jobs: Scans, limit: Limit) -> None:
    """429 for a client that uploads too often, 503 while too many wait."""
    client = limits.network(request.client.host if request.client else "")
    if pause := limits.take(limit, client, time.monotonic()):
        raise Problem(429, "That was many uploads.", f"Try again in {pause} seconds.", retry_after=pause)
    if scans.waiting(jobs) >= scans.MOST_WAITING:
        raise Problem(503, "Many files are being scanned.", "Try again in half a minute.", retry_after=30)


def _submit(jobs: Scans, fields: FormData) -> Job:
    file = fields.get("file")
    if not isinstance(file, UploadFile) or not file.filename:
        raise ScanInput("choose a file first")
    named = (security.text(fields, name, 64) or None for name in ("event_field", "stream_field", "time_field"))
    chosen = security.text(fields, "sensitivity", 16) or "balanced"
    if chosen not in SENSITIVITIES:
        raise ScanInput("the sensitivity must be strict, balanced or sensitive")
    name = PurePath(file.filename.replace("\\", "/")).name
    return scans.submit(jobs, file.file, name, Fields(*named), Controls(SENSITIVITIES[chosen]))


def _job(jobs: Scans, job_id: str) -> Job:
    job = jobs.jobs.get(job_id)
    if job is None:
        raise Problem(
            404, "This scan is no longer here.", "Results are forgotten after ten minutes: upload the file again."
        )
    return job
