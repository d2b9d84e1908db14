"""The API's own routes: alive, ready or not and why, version, metrics; nothing else yet."""

import asyncio

import httpx
from fastapi import FastAPI

from pipeline.api.app import build


def api(wrong: str = "") -> FastAPI:
    return build({"kafka": lambda: wrong, "database": str}, "1", "abc")


def get(app: FastAPI, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_ready_says_what_is_failing() -> None:
    assert get(api(), "/readyz").json() == {"status": "ready", "failing": {}}
    answer = get(api("does not answer"), "/readyz")
    assert (answer.status_code, answer.json()["failing"]) == (503, {"kafka": "does not answer"})
    assert get(api("does not answer"), "/healthz").status_code == 200


def test_version_names_what_runs() -> None:
    answer = get(api(), "/v1/version").json()
    assert answer.keys() == {"version", "commit", "schema_version", "detector_version"}


OPEN = {
    "/healthz",
    "/v1/version",
    "/v1/status",
    "/v1/accounts/sign-up",
    "/v1/accounts/verify",
    "/v1/accounts/password-reset",
    "/v1/invitations/look",
    "/v1/invitations/accept",
    "/v1/sessions/refresh",
}


def test_every_route_asks_who_it_is_but_those_that_tell_nothing() -> None:
    operations = [
        (path, method, operation)
        for path, methods in api().openapi()["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) > 40
    without = {
        path for path, method, o in operations if "security" not in o and (path, method) != ("/v1/sessions", "post")
    }
    assert without == OPEN


def test_errors_are_problems() -> None:
    answer = get(api(), "/v1/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json() == {
        "type": "urn:driftlock:problem:not-found",
        "title": "Not Found",
        "status": 404,
        "detail": "Not Found",
    }
