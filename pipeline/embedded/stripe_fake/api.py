"""One request to the API: key, faults, idempotency, endpoint; the answer, or that the connection is to be dropped."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from pipeline.embedded.stripe_fake import faults, invoices, meters, params, routes, subscriptions
from pipeline.embedded.stripe_fake.errors import ApiError
from pipeline.embedded.stripe_fake.sandbox import Sandbox

_KEY = re.compile(r"(?:sk|rk)_test_[A-Za-z0-9_]+")
EVENTS_PATH = "/v1/billing/meter_events"


@dataclass(frozen=True)
class Request:
    """What came in; `body` is the form, or the query of a GET."""

    method: str
    path: str
    body: str
    key: str = ""
    idempotency_key: str = ""


@dataclass(frozen=True)
class Answer:
    """What goes out. Status 0: the connection is dropped without an answer, after `hang` seconds."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0.0


def answer(box: Sandbox, request: Request) -> Answer:
    """Serve a request. The caller holds the sandbox's lock."""
    tick(box)
    now = box.clock.now()
    struck = faults.pick(box.rules, request.method, request.path, now, box.rng)
    if struck is None:
        made = _serve(box, request, now)
    elif struck.kind == "rate_limit":
        made = _error(ApiError(429, "Too many requests hit the API too quickly.", "rate_limit"))
    elif struck.kind == "error":
        made = _saved(box, request, now, _server_error())
    elif struck.kind == "error_applied":
        _serve(box, request, now, keep=False)
        made = _saved(box, request, now, _server_error())
    else:
        if struck.kind == "drop_applied":
            _serve(box, request, now)
        elif struck.kind == "drop_late":
            _later(box, request, now + struck.late)
        made = Answer(0, hang=struck.hang)
    box.log.append(
        {
            "at": now,
            "method": request.method,
            "path": request.path,
            "body": request.body,
            "status": made.status,
            "fault": struck.kind if struck else None,
        }
    )
    return made


def tick(box: Sandbox) -> None:
    """Do what time has brought: late requests land, periods roll, drafts become final, open invoices are tried again."""
    now = box.clock.now()
    box.usage.catch_up(now)
    if now >= box.due_at:
        box.due_at = min(subscriptions.roll(box, now), invoices.settle(box, now))


def _serve(box: Sandbox, request: Request, now: int, *, keep: bool = True) -> Answer:
    try:
        _check_key(request.key)
        if request.idempotency_key and request.method == "POST":
            kept = box.keys.find(request.idempotency_key, _text(request), now)
            if kept is not None:
                return Answer(kept.status, kept.body, {"Idempotent-Replayed": "true"})
        given = params.decode(request.body)
        made = Answer(200, json.dumps(routes.run(box, request.method, request.path, given)).encode())
    except ApiError as error:
        # What failed validation was not executed; nothing is saved, and the same key may be tried again.
        return _saved(box, request, now, _error(error)) if error.executed else _error(error)
    return _saved(box, request, now, made) if keep else made


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise ApiError(401, "Invalid API Key provided.", kind="invalid_request_error")


def _saved(box: Sandbox, request: Request, now: int, made: Answer) -> Answer:
    if request.idempotency_key and request.method == "POST":
        box.keys.keep(request.idempotency_key, _text(request), now, made.status, made.body)
    return made


def _later(box: Sandbox, request: Request, at: int) -> None:
    """A meter event lands late; any other request whose answer is lost is simply not applied."""
    if request.method != "POST" or request.path != EVENTS_PATH:
        return
    try:
        event, _ = meters.read_event(box, meters.EVENT("", params.decode(request.body)))
    except ApiError:
        return
    box.usage.apply_later(event, at)


def _text(request: Request) -> str:
    return f"{request.method} {request.path}\n{request.body}"


def _server_error() -> Answer:
    return _error(ApiError(500, "An unknown error occurred.", kind="api_error"))


def _error(error: ApiError) -> Answer:
    retry: dict[str, Any] = {"Stripe-Should-Retry": "true" if error.status in (409, 429, 500) else "false"}
    return Answer(error.status, json.dumps(error.body()).encode(), retry)
