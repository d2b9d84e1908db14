"""The client against the real API: the README's example, batches, retries that store nothing twice, a stream that goes on."""

import itertools
import random
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from pipeline import client
from pipeline.client import Connection, Refused, Unreachable
from tests.integration.api_world import World, anomaly, store

README = Path(__file__).parents[2] / "pipeline" / "client" / "README.md"
WAIT_S = 30.0


@pytest.fixture
def email() -> str:
    return f"client-{uuid.uuid4().hex[:12]}@example.org"


def key(world: World, email: str) -> str:
    return world.key(email)["Authorization"].removeprefix("Bearer ")


@contextmanager
def connected(world: World, email: str) -> Iterator[Connection]:
    with client.connect(str(world.client.base_url), key(world, email)) as at:
        yield replace(at, wait=lambda _: None, rng=random.Random(1))


Answer = Callable[[httpx.Request, int, httpx.HTTPTransport], httpx.Response | None]
"""What a network answers itself to a request, of how many that came before; by the transport it may ask the API first."""


@contextmanager
def through(at: Connection, answer: Answer) -> Iterator[Connection]:
    """The same connection over a network that answers some requests itself."""
    before = itertools.count()
    with httpx.HTTPTransport() as real:

        def send(request: httpx.Request) -> httpx.Response:
            return answer(request, next(before), real) or real.handle_request(request)

        network = httpx.MockTransport(send)
        with httpx.Client(base_url=at.http.base_url, headers=at.http.headers, transport=network) as http:
            yield replace(at, http=http)


def test_the_readmes_example_runs(api_world: World, email: str, capsys: pytest.CaptureFixture[str]) -> None:
    organization_id = api_world.user(email).verified.organization_id
    code = re.search(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert code is not None
    store(api_world.database, anomaly(organization_id, 1, id=str(uuid.uuid4()), severity="high"))
    arriving = anomaly(organization_id, 2, id=str(uuid.uuid4()), severity="critical")

    def arrive() -> None:
        deadline = threading.Event()
        for _ in range(int(WAIT_S / 0.02)):
            if api_world.serving.feed.waiting.get(organization_id):
                break
            deadline.wait(0.02)
        store(api_world.database, arriving)

    thread = threading.Thread(target=arrive)
    thread.start()
    environ = {"DRIFTLOCK_URL": str(api_world.client.base_url), "DRIFTLOCK_KEY": key(api_world, email)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        exec(compile(code[1], str(README), "exec"), {})  # noqa: S102 our own README
    thread.join(WAIT_S)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "2 accepted, 0 rejected"
    assert said[1].endswith("web number 1")
    assert said[2].endswith("number 2")
    with connected(api_world, email) as at:
        assert client.anomaly(at, next(client.anomalies(at, status=["acknowledged"])).id).raw["history"][0]["note"]


def test_batches_are_cut_and_each_event_is_told_by_its_own_index(api_world: World, email: str) -> None:
    events: list[client.Event] = [{"n": n} for n in range(10_050)]
    events[3] = {"stream": "x" * 200}
    events[7] = {"never": {1, 2}}
    events[10_020] = {"stream": "y" * 200}
    events[11] = "z" * (5 << 20)
    with connected(api_world, email) as at:
        sent = client.send(at, events, stream="web")
        assert [(one.index, one.code) for one in sent.rejected][1:3] == [(7, "json"), (11, "too-large")]
        assert [one.index for one in sent.rejected] == [3, 7, 11, 10_020]
        assert sent.accepted == len(set(sent.ids)) == 10_046
        nothing = client.send(at, [{"stream": ""}, {"stream": 5}])
        assert (nothing.accepted, [one.index for one in nothing.rejected]) == (0, [0, 1])
        assert client.send(at, []) == client.Sent((), ())


def test_a_lost_answer_is_asked_for_again_and_nothing_is_stored_twice(api_world: World, email: str) -> None:
    def losing(request: httpx.Request, before: int, real: httpx.HTTPTransport) -> httpx.Response | None:
        if before == 0:
            real.handle_request(request).read()
            raise httpx.ReadError("the answer got lost", request=request)
        if before == 1:
            return httpx.Response(503, headers={"Retry-After": "1"}, request=request)
        return None

    before = api_world.end_of_events()
    with connected(api_world, email) as at:
        with through(at, losing) as flaky:
            sent = client.send(flaky, [{"n": 1}, {"n": 2}])
        assert sent.accepted == 2
        assert api_world.end_of_events() == before + 1, "one record, whose answer got lost"
        again = client.send(at, [{"n": 3}], key="mine")
        assert client.send(at, [{"n": 3}], key="mine") == again
        assert api_world.end_of_events() == before + 2
        with pytest.raises(Refused, match="another body") as refused:
            client.send(at, [{"n": 4}], key="mine")
        assert refused.value.status == 422


def test_a_status_that_may_have_been_set_is_not_set_again(api_world: World, email: str) -> None:
    organization_id = api_world.user(email).verified.organization_id
    store(api_world.database, anomaly(organization_id, 1, id=str(uuid.uuid4())))
    asked = []

    def losing(request: httpx.Request, before: int, _real: httpx.HTTPTransport) -> httpx.Response | None:
        asked.append(before)
        if before == 0:
            raise httpx.ConnectError("nobody there", request=request)
        raise httpx.ReadTimeout("no answer", request=request)

    with connected(api_world, email) as at:
        found = next(client.anomalies(at))
        with through(at, losing) as flaky, pytest.raises(Unreachable):
            client.set_status(flaky, found, "resolved")
        assert asked == [0, 1], "a connection that was never made is tried again, a lost answer is not"
        assert client.set_status(at, found, "resolved").status == "resolved"
        with pytest.raises(Refused) as late:
            client.set_status(at, found, "open")
        assert late.value.status == 412


def test_pages_follow_each_other(api_world: World, email: str, monkeypatch: pytest.MonkeyPatch) -> None:
    organization_id = api_world.user(email).verified.organization_id
    store(api_world.database, *(anomaly(organization_id, n, id=str(uuid.uuid4())) for n in range(7)))
    monkeypatch.setattr("pipeline.client.feed.A_PAGE", 3)
    with connected(api_world, email) as at:
        found = list(client.anomalies(at))
        assert [one.sentence for one in found] == [f"number {n}" for n in reversed(range(7))]
        assert [one.id for one in client.anomalies(at, since=found[2].created_at, text="NUMBER")] == [
            one.id for one in found[:3]
        ]


def test_a_broken_stream_goes_on_where_it_ended(api_world: World, email: str) -> None:
    organization_id = api_world.user(email).verified.organization_id
    stored = [anomaly(organization_id, n, id=str(uuid.uuid4())) for n in range(4)]
    store(api_world.database, stored[0])
    start = _present(api_world, email)
    for stored_one in stored[1:]:
        store(api_world.database, stored_one)
    places: list[str] = []

    def breaking(request: httpx.Request, before: int, real: httpx.HTTPTransport) -> httpx.Response | None:
        places.append(request.headers.get("last-event-id", ""))
        if before == 0:
            answer = real.handle_request(request)
            return httpx.Response(answer.status_code, headers=answer.headers, stream=Cut(answer))
        if before == 1:
            raise httpx.ConnectError("restarting", request=request)
        return httpx.Response(503, request=request) if before == 2 else None

    with connected(api_world, email) as at, through(at, breaking) as flaky:
        seen = list(itertools.islice(client.follow(flaky, after=start), 3))
    assert [one.anomaly.sentence for one in seen] == ["number 1", "number 2", "number 3"]
    assert places == [start, seen[0].place, seen[0].place, seen[0].place]
    with client.connect(str(api_world.client.base_url), "dlk_nobody.x") as nobody, pytest.raises(Refused) as refused:
        next(client.follow(nobody))
    assert refused.value.status == 401


def _present(world: World, email: str) -> str:
    from pipeline.tenants import live

    with world.serving.tenants() as connection:
        return live.present(connection, world.user(email).verified.organization_id)


class Cut(httpx.SyncByteStream):
    """A stream whose connection breaks behind its first anomaly."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        got = b""
        for chunk in self._answer.iter_raw():
            got += chunk
            end = got.find(b"\n\n", got.find(b"data: "))
            if b"data: " in got and end >= 0:
                yield got[: end + 2]
                raise httpx.ReadError("broken")

    def close(self) -> None:
        self._answer.close()


def test_an_api_that_is_not_there_is_told_in_a_line() -> None:
    with client.connect("http://127.0.0.1:1", "dlk_secret.value") as at:
        quick = replace(at, wait=lambda _: None)
        for ask in (lambda: client.send(quick, [{}]), lambda: next(client.follow(quick))):
            with pytest.raises(Unreachable) as told:
                ask()
            assert "\n" not in str(told.value)
            assert "secret" not in f"{told.value}{quick}"
