"""What holds for every page: headers, forms of our own only, bounded bodies, errors as pages."""

import httpx
import pytest

from dashboards.console import security
from dashboards.console.app import build
from tests.dashboards.console.visitor import Visitor

LOG = ("file", ("a.log", b"one line\n" * 60, "text/plain"))


@pytest.fixture
def client() -> Visitor:
    return Visitor(build(None))


@pytest.mark.parametrize("path", ["/scan", "/nowhere", "/static/app.css", "/healthz", "/scan/unknown"])
def test_every_answer_has_the_security_headers(client: Visitor, path: str) -> None:
    answer = client.get(path)
    assert {name: answer.headers[name] for name in security.HEADERS} == security.HEADERS
    assert security.POLICY.startswith("default-src 'self';")
    assert "unsafe" not in security.POLICY


def test_the_cookie_is_secure_and_closed_to_scripts_and_sites(client: Visitor) -> None:
    said = client.get("/scan").headers["set-cookie"]
    assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in said.split(";")}


def test_a_form_without_its_token_or_from_another_site_is_refused(client: Visitor) -> None:
    good = client.token()
    assert client.post("/scan", files=[LOG]).status_code == 403
    assert client.post("/scan", files=[LOG], data={"token": "0" * 64}).status_code == 403
    foreign = {"sec-fetch-site": "cross-site"}
    assert client.post("/scan", files=[LOG], data={"token": good}, headers=foreign).status_code == 403
    client.cookies = httpx.Cookies()
    assert client.post("/scan", files=[LOG], data={"token": good}).status_code == 403


def test_too_much_is_refused_while_it_is_read(client: Visitor) -> None:
    data = {"token": client.token()}
    big = ("file", ("a.log", b"x" * (security.MAX_UPLOAD_BYTES + (1 << 20)), "text/plain"))
    answer = client.post("/scan", files=[big], data=data)
    assert answer.status_code == 413
    assert "too large" in answer.text


def test_uploads_are_limited_by_client(client: Visitor) -> None:
    data = {"token": client.token()}
    answers = [client.post("/scan", files=[LOG], data=data) for _ in range(7)]
    assert [a.status_code for a in answers] == [303] * 6 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/scan", 405)])
def test_an_error_is_a_page_that_says_what_to_do(client: Visitor, method: str, path: str, status: int) -> None:
    answer = client.ask(method, path)
    assert answer.status_code == status
    assert "<h1>" in answer.text
    assert 'class="lead"' in answer.text


def test_a_name_of_a_file_is_text_and_nothing_else(client: Visitor) -> None:
    hostile = ("file", ("<script>alert(1)</script>.log", b"one line\n" * 60, "text/plain"))
    answer = client.post("/scan", files=[hostile], data={"token": client.token()})
    assert answer.status_code == 303
    answer = client.get(answer.headers["location"])
    assert "<script>alert" not in answer.text
