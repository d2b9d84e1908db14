"""Anomalies by the API: pages that hold still, status with history and If-Match, credits, the live stream, the export."""

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import orjson
import psycopg
import pytest

from tests.integration.api_world import NOW_MS, World, anomaly, served, store


@pytest.fixture
def email(api_world: World) -> str:
    made = f"{uuid.uuid4()}@example.org"
    api_world.user(made)
    return made


def filled(world: World, email: str, n: int, **changed: Any) -> Any:
    organization_id = world.user(email).verified.organization_id
    base = uuid.uuid4().int >> 32
    store(world.database, *(anomaly(organization_id, i, id=str(uuid.UUID(int=base + i)), **changed) for i in range(n)))
    return organization_id


def listed(world: World, email: str, query: str = "") -> Any:
    answer = world.client.get(f"/v1/anomalies{query}", headers=world.bearer(email))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_pages_hold_still_while_new_ones_come(api_world: World, email: str) -> None:
    organization_id = filled(api_world, email, 25)
    seen: list[str] = []
    page = listed(api_world, email, "?limit=10")
    for i in range(3):
        seen += [item["sentence"] for item in page["items"]]
        store(api_world.database, anomaly(organization_id, 1_000 + i, id=str(uuid.uuid4())))
        if page["next_cursor"] is None:
            break
        page = listed(api_world, email, f"?limit=10&cursor={page['next_cursor']}")
    assert seen == [f"number {i}" for i in reversed(range(25))]


def test_a_filter_that_few_fit_goes_on_over_pages_that_hold_few(
    api_world: World, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    organization_id = filled(api_world, email, 11)
    rare = [
        anomaly(organization_id, 100 + i, id=str(uuid.uuid4()), severity="low", created_at=NOW_MS - at, last_at=NOW_MS)
        for i, at in enumerate((86_400_000, 2 * 86_400_000))
    ]
    store(api_world.database, *rare)
    whole = listed(api_world, email, "?severity=low")["items"]
    assert len(whole) == 2
    monkeypatch.setattr("pipeline.tenants.anomalies.MOST_LOOKED_AT", 4)
    pages = [listed(api_world, email, "?severity=low")]
    while pages[-1]["next_cursor"] is not None:
        pages.append(listed(api_world, email, f"?severity=low&cursor={pages[-1]['next_cursor']}"))
    assert [item for page in pages for item in page["items"]] == whole
    assert len(pages) == 4  # 13 rows, four a page
    assert pages[0]["items"] == []


def test_filters(api_world: World, email: str) -> None:
    filled(api_world, email, 3)
    filled(
        api_world,
        email,
        2,
        stream="db",
        severity="low",
        kind="burst",
        created_at=NOW_MS + 86_400_000,
        last_at=NOW_MS + 86_400_000,
    )
    for query, count in (
        ("?stream=db", 2),
        ("?stream=db&stream=web", 5),
        ("?severity=high", 3),
        ("?kind=burst&severity=low", 2),
        ("?status=open", 5),
        ("?status=resolved", 0),
        ("?text=disk%20full", 5),
        ("?text=number%202", 1),
        ("?text=%25", 0),
        ("?since=2026-03-03T00:00:00Z", 2),
        ("?until=2026-03-03T00:00:00%2B00:00", 3),
    ):
        assert len(listed(api_world, email, query)["items"]) == count, query


def test_status_has_history_and_the_quicker_one_wins(api_world: World, email: str) -> None:
    filled(api_world, email, 1)
    path = f"/v1/anomalies/{listed(api_world, email)['items'][0]['id']}"
    headers = api_world.bearer(email)
    etag = api_world.client.get(path, headers=headers).headers["etag"]
    first = api_world.client.put(
        path, json={"status": "acknowledged", "note": "mine"}, headers=headers | {"If-Match": etag}
    )
    second = api_world.client.put(path, json={"status": "resolved"}, headers=headers | {"If-Match": etag})
    assert (first.status_code, second.status_code) == (200, 412)
    assert (
        api_world.client.put(path, json={"status": "resolved"}, headers=headers | {"If-Match": "x"}).status_code == 422
    )
    last = api_world.client.put(path, json={"status": "open"}, headers=headers | {"If-Match": first.headers["etag"]})
    assert last.headers["etag"] == api_world.client.get(path, headers=headers).headers["etag"] != etag
    history = last.json()["anomaly"]["history"]
    assert [(h["version"], h["status"], h["note"]) for h in history] == [(1, "acknowledged", "mine"), (2, "open", "")]
    assert history[0]["changed_by"] == f"user/{api_world.user(email).verified.user_id}"


def test_changes_at_once_one_wins(api_world: World, email: str) -> None:
    filled(api_world, email, 1)
    path = f"/v1/anomalies/{listed(api_world, email)['items'][0]['id']}"
    headers = api_world.bearer(email) | {"If-Match": '"s0"'}
    said: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: said.append(
                api_world.client.put(path, json={"status": "resolved"}, headers=headers).status_code
            )
        )
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(said) == [200, 412, 412, 412, 412]


def test_a_false_positive_says_what_became_of_the_credit(api_world: World, email: str) -> None:
    filled(api_world, email, 1)
    path = f"/v1/anomalies/{listed(api_world, email)['items'][0]['id']}"
    answer = api_world.client.put(path, json={"status": "false_positive"}, headers=api_world.bearer(email))
    assert answer.status_code == 200, answer.text
    assert answer.json()["credit"]["outcome"] == "not_billed"  # nothing was booked for it: nothing to credit
    assert answer.json()["anomaly"]["listed"]["status"] == "false_positive"


def test_what_a_free_plan_withholds_is_not_shown(api_world: World, email: str) -> None:
    organization_id = filled(api_world, email, 2)
    first, second = (item["id"] for item in listed(api_world, email)["items"])
    with psycopg.connect(api_world.database.url(), autocommit=True) as root:
        root.execute("SET session_replication_role = replica")
        root.execute(
            "INSERT INTO ledger (organization_id, seq, kind, disposition, usage_id, count, units, stream, occurred_at,"
            " arrived_at, recorded_at, meter_hour, period_start, plan, plan_version, blocks_topic_id, blocks_partition,"
            " frame, event, usage_topic_id, usage_partition, usage_offset, detector_version, prev_hash, hash)"
            " VALUES (%s, 1, 'usage', 'free_withheld', %s, 1, 1, 'web', now(), now(), now(), date_trunc('hour', now()),"
            " now(), 'developer', 1, 't', 0, 0, 0, 't', 0, 0, '1', %s, %s)",
            (organization_id, first, bytes(32), bytes(32)),
        )
    assert [item["id"] for item in listed(api_world, email)["items"]] == [second]
    assert api_world.client.get(f"/v1/anomalies/{first}", headers=api_world.bearer(email)).status_code == 404


def test_export_is_the_list(api_world: World, email: str) -> None:
    filled(api_world, email, 3, explanation={"sentence": "=1+1", "tokens": [], "event": "e", "nearest_normal": None})
    headers = api_world.bearer(email)
    lines = api_world.client.get("/v1/export/anomalies", headers=headers).text.splitlines()
    assert [orjson.loads(line)["id"] for line in lines] == [item["id"] for item in listed(api_world, email)["items"]]
    table = api_world.client.get("/v1/export/anomalies?form=csv", headers=headers)
    assert table.headers["content-type"].startswith("text/csv")
    assert len(table.text.splitlines()) == 4
    assert ",'=1+1," in table.text  # no formula for a spreadsheet
    assert api_world.client.get("/v1/export/anomalies?form=xml", headers=headers).status_code == 422


class Stream:
    """A stream of server-sent events, read in a thread."""

    def __init__(self, world: World, email: str, last: str | None = None) -> None:
        self.events: list[tuple[str, Any, float]] = []
        self.place = ""
        self.status = 0
        headers = world.bearer(email) | ({"Last-Event-ID": last} if last else {})
        self._world, self._headers = world, headers
        self._open = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self._open.wait(10)

    def _read(self) -> None:
        with self._world.client.stream("GET", "/v1/anomalies/stream", headers=self._headers, timeout=60) as answer:
            self.status = answer.status_code
            place, self._answer = "", answer
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    place = line[4:]
                elif line.startswith("data: "):
                    self.events.append((place, orjson.loads(line[6:]), time.time()))
                elif not line and place:
                    self.place = place
                    self._open.set()

    def wait(self, n: int) -> list[Any]:
        """The first n events' sentences."""
        deadline = time.monotonic() + 10
        while len(self.events) < n and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        return [event[1]["sentence"] for event in self.events[:n]]


def test_the_stream_shows_what_comes_and_resumes(api_world: World, email: str) -> None:
    organization_id = filled(api_world, email, 2)
    stream = Stream(api_world, email)
    store(api_world.database, *(anomaly(organization_id, 10 + i, id=str(uuid.uuid4())) for i in range(3)))
    assert sorted(stream.wait(3)) == ["number 10", "number 11", "number 12"]
    resumed = Stream(api_world, email, stream.events[0][0])
    assert resumed.wait(2) == [event[1]["sentence"] for event in stream.events[1:3]]
    store(api_world.database, anomaly(organization_id, 13, id=str(uuid.uuid4())))
    assert resumed.wait(3)[2] == stream.wait(4)[3] == "number 13"
    wrong = api_world.client.get("/v1/anomalies/stream", headers=api_world.bearer(email) | {"Last-Event-ID": "x"})
    assert wrong.status_code == 422


def test_a_stream_goes_on_after_a_restart_and_misses_nothing_in_between(api_world: World, email: str) -> None:
    organization_id = filled(api_world, email, 1)
    with served(api_world.settings, api_world.database) as first:
        first.users = api_world.users
        stream = Stream(first, email)
        store(api_world.database, anomaly(organization_id, 50, id=str(uuid.uuid4())))
        assert stream.wait(1) == ["number 50"]
        last = stream.events[0][0]
    store(api_world.database, anomaly(organization_id, 51, id=str(uuid.uuid4())))  # while nobody serves
    with served(api_world.settings, api_world.database) as again:
        again.users = api_world.users
        resumed = Stream(again, email, last)
        store(api_world.database, anomaly(organization_id, 52, id=str(uuid.uuid4())))
        assert resumed.wait(2) == ["number 51", "number 52"]


def overlapping(world: World, organization_id: Any) -> Iterator[None]:
    """Two transactions that commit in the other order than they begin; a step at each `next`."""
    from pipeline.sinks import anomalies as sink
    from pipeline.sinks.sink import Record

    def write(connection: Any, number: int) -> None:
        made = anomaly(organization_id, number, id=str(uuid.uuid4()))
        sink.write(connection, [Record("t", 0, number, NOW_MS, None, made.to_bytes())], NOW_MS)

    url = world.database.url("driftlock_sink")
    with psycopg.connect(url) as early, psycopg.connect(url) as late:
        write(early, 20)
        write(late, 21)
        late.commit()
        yield
        early.commit()
        yield


def test_a_transaction_that_commits_late_is_not_skipped(api_world: World, email: str) -> None:
    organization_id = filled(api_world, email, 1)
    stream = Stream(api_world, email)
    steps = overlapping(api_world, organization_id)
    next(steps)
    threading.Event().wait(0.2)  # time in which a stream that goes by commits would have passed the early one
    next(steps)
    assert stream.wait(2) == ["number 20", "number 21"]


def test_many_streams_are_served_and_leave_nothing(api_world: World, email: str) -> None:
    organization_id = filled(api_world, email, 1)
    streams = [Stream(api_world, email) for _ in range(20)]
    store(api_world.database, anomaly(organization_id, 30, id=str(uuid.uuid4())))
    begun = time.time()
    for stream in streams:
        assert stream.wait(1) == ["number 30"]
    assert max(stream.events[0][2] for stream in streams) - begun < 5
