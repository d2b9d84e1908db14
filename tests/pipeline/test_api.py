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


def test_no_route_shows_an_organizations_data() -> None:
    assert {route.path for route in api().routes} == {"/healthz", "/readyz", "/v1/version", "/metrics", "/openapi.json"}  # type: ignore[attr-defined]
