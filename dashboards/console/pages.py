"""Templates → pages. Every value is escaped; a name that is missing is an error, not an empty place."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dashboards.console import wording
from dashboards.console.problems import Problem
from dashboards.console.security import form_token

HERE = Path(__file__).parent
STATIC = HERE / "static"


@cache
def asset(name: str) -> str:
    """The address of a static file, with its digest, so that browsers may keep it for ever."""
    return f"/static/{name}?v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]}"


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["asset"] = asset
    made.filters |= wording.FILTERS
    return made


def fragment(name: str, /, **context: Any) -> str:
    """A part of a page."""
    return _environment().get_template(name).render(**context)


def page(request: Request, name: str, /, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A whole page; it may hold forms."""
    known = {
        "session": getattr(request.state, "session", None),
        "form_token": form_token(request),
        "path": request.url.path,
    }
    return HTMLResponse(fragment(name, **known | context), status_code=status)


def problem_page(request: Request, problem: Problem) -> HTMLResponse:
    """The page of an error; with `Retry-After` where waiting helps."""
    response = page(request, "problem.html", status=problem.status, problem=problem)
    if problem.retry_after is not None:
        response.headers["retry-after"] = str(problem.retry_after)
    return response
