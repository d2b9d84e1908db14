"""The console's pages on a real database: who may, what is refused, what is kept apart, what resumes."""

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from dashboards.console.session import ACCESS, REFRESH
from schemas.models import BIT
from tests.dashboards.console.visitor import Visitor
from tests.integration.accounts_world import PASSWORD, token_of
from tests.integration.console_world import World, console, organization, person
from tests.stack.database import Database

NOW = datetime.now(UTC).replace(microsecond=0)
EVENT = "GET /checkout 500 <script>alert(1)</script>"


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    with console(database) as made:
        yield made


def store(world: World, organization_id: UUID, sentence: str = "`500` is new", severity: str = "high") -> UUID:
    """An anomaly, as the sink stores it."""
    told = {
        "sentence": sentence,
        "tokens": [{"token": "500", "bits": 13 * BIT, "expected": "1 value", "seen": "new"}],
        "event": EVENT,
        "nearest_normal": "GET /checkout 200",
    }
    sizes = dict.fromkeys(("baseline_bytes", "window_bytes", "both_bytes", "window_raw_bytes"), 100)
    ratios = dict.fromkeys(("compression_ratio", "delta_bits_per_byte", "ncd", "entropy", "permutation_p"), BIT)
    anomaly_id = uuid4()
    with psycopg.connect(world.database.url("driftlock_sink"), autocommit=True) as sink:
        sink.execute(
            "INSERT INTO anomalies (organization_id, created_at, id, revision, stream, event_type, kind, severity, last_at,"
            " count, open, calibrated, surprisal, extrapolated, reference_n, score_bits, channels, explanation, metrics,"
            " first_event_id, blocks_topic_id, blocks_partition, frame, event, detector_version)"
            " VALUES (%s, %s, %s, 1, 'web', 'text', 'template', %s, %s, 1, false, true, %s, false, 1500, %s, %s, %s, %s,"
            " %s, 't', 0, 1, 1, '1')",
            (
                *(organization_id, NOW, anomaly_id, severity, NOW, 18 * BIT, 5 * BIT, Jsonb({"template": 5 * BIT})),
                *(Jsonb(told), Jsonb({**sizes, **ratios, "library": "zstd 1.5.7"}), uuid4()),
            ),
        )
    return anomaly_id


def test_pages_need_a_login_and_then_come_again(world: World) -> None:
    stranger = Visitor(world.app)
    for path in (
        "/anomalies",
        "/streams",
        "/usage",
        "/billing",
        "/settings",
        "/settings/keys",
        "/settings/audit",
        "/start",
    ):
        answer = stranger.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next={path.replace('/', '%2F')}")
    assert stranger.get("/anomalies/stream").status_code == 204
    assert stranger.get(f"/anomalies/{uuid4()}/plot.json").status_code == 303


def test_a_login_never_leads_to_another_site(world: World) -> None:
    one = person(world, "a@example.com")
    for hostile in (
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\r\nSet-Cookie: a=b",
    ):
        said = {"email": "a@example.com", "password": PASSWORD, "next": hostile, "token": one.token("/signup")}
        assert one.post("/login", data=said).headers["location"].startswith("/anomalies")


def test_one_organization_sees_nothing_of_another(world: World) -> None:
    ann = person(world, "ann@example.com")
    anns = store(world, organization(world))
    bob = person(world, "bob@example.com")
    assert f"/anomalies/{anns}" in ann.get("/anomalies").text
    assert str(anns) not in bob.get("/anomalies").text
    assert bob.get(f"/anomalies/{anns}").status_code == 404
    assert bob.get(f"/anomalies/{anns}/plot.json").status_code == 404
    said = {"status": "resolved", "etag": "", "token": bob.token("/settings")}
    assert bob.post(f"/anomalies/{anns}", data=said).status_code in {404, 412}
    assert "Status: open" in ann.get(f"/anomalies/{anns}").text


def test_the_page_of_an_anomaly_tells_it_and_runs_none_of_it(world: World) -> None:
    ann = person(world, "ann@example.com")
    text = ann.get(f"/anomalies/{store(world, organization(world))}").text
    assert "<code>500</code> is new" in text
    assert re.search(r'<mark class="s3">500<small>13\.0', text)
    assert "GET /checkout 200" in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_a_status_set_on_an_old_page_is_not_made(world: World) -> None:
    ann = person(world, "ann@example.com")
    where = f"/anomalies/{store(world, organization(world))}"
    page = ann.get(where).text
    etag = re.search(r'name="etag" value="([^"]*)"', page)
    assert etag is not None
    said = {"etag": etag[1].replace("&#34;", '"'), "token": ann.token(where)}
    first = ann.post(where, data={**said, "status": "acknowledged"})
    assert (first.status_code, first.headers["location"]) == (303, where)
    second = ann.post(where, data={**said, "status": "resolved"})
    assert second.status_code == 412
    assert "Somebody changed it meanwhile" in second.text
    assert "Status: acknowledged" in second.text


def test_filters_choose_and_nonsense_is_refused(world: World) -> None:
    ann = person(world, "ann@example.com")
    high = store(world, organization(world), "`a` is new", "high")
    low = store(world, organization(world), "`b` is new", "low")
    assert (str(high) in (text := ann.get("/anomalies?severity=high").text), str(low) in text) == (True, False)
    assert str(low) in ann.get("/anomalies?text=checkout+500&severity=low&stream=web&status=open&since=2020-01-01").text
    assert "No anomaly fits" in ann.get("/anomalies?until=2020-01-01").text
    for bad in ("severity=worst", "status=gone", "since=yesterday", "cursor=nonsense"):
        assert ann.get(f"/anomalies?{bad}").status_code in {400, 422}, bad


def test_a_stream_resumes_after_what_was_seen_and_keeps_to_its_filter(world: World) -> None:
    ann = person(world, "ann@example.com")
    place = re.search(r"after=([^\"&]+)\"", ann.get("/anomalies").text)
    assert place is not None
    first, second = (store(world, organization(world), f"`{n}` is new") for n in (1, 2))
    store(world, organization(world), "`3` is new", "low")
    told = _listen(world, ann, f"/anomalies/stream?severity=high&after={place[1]}", "", 2)
    assert [f"a-{first}" in told[0] or f"a-{second}" in told[0], len(told)] == [True, 2]
    last = re.search(r"^id: (\S+)$", told[0], re.MULTILINE)
    assert last is not None
    again = _listen(world, ann, "/anomalies/stream?severity=high", last[1], 1)
    assert _row(again[0]) == _row(told[1])
    assert _row(told[0]) != _row(told[1])


def _row(event: str) -> str:
    found = re.search(r'id="(a-[0-9a-f-]+)"', event)
    assert found is not None
    return found[1]


def _listen(world: World, one: Visitor, path: str, last: str, count: int) -> list[str]:
    """The first `count` events of a stream that is then left; of none, one that ends by itself once the process is to end."""
    events: list[str] = []

    async def follow() -> None:
        done = asyncio.Event()

        async def receive() -> dict[str, object]:
            await done.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, object]) -> None:
            body = message.get("body", b"")
            assert isinstance(body, bytes)
            events.extend(p for p in body.decode().split("\n\n") if "event: anomaly" in p)
            if count == 0:
                world.hub.until(lambda: True)
            elif len(events) >= count:
                done.set()

        await asyncio.wait_for(world.app(_scope(one, path, last), receive, send), 30)  # type: ignore[arg-type]

    asyncio.run(follow())
    return events[:count]


def _scope(one: Visitor, path: str, last: str) -> dict[str, object]:
    cookie = "; ".join(f"{c.name}={c.value}" for c in one.cookies.jar)
    url = httpx.URL(f"https://console.test{path}")
    headers = [(b"host", b"console.test"), (b"cookie", cookie.encode()), (b"last-event-id", last.encode())]
    return {
        "type": "http", "method": "GET", "path": url.path, "raw_path": url.raw_path, "query_string": url.query,
        "headers": headers if last else headers[:2], "scheme": "https", "server": ("console.test", 443),
        "client": ("127.0.0.1", 1), "http_version": "1.1", "root_path": "",
    }  # fmt: skip


def test_open_streams_end_with_the_process(world: World) -> None:
    assert _listen(world, person(world, "ann@example.com"), "/anomalies/stream", "", 0) == []


def test_a_session_is_renewed_by_its_refresh_token_and_ends_everywhere(world: World) -> None:
    ann = person(world, "ann@example.com")
    ann.cookies.delete(ACCESS)
    assert ann.get("/anomalies").status_code == 200
    assert ann.cookies.get(ACCESS)
    other = Visitor(world.app)
    said = {"email": "ann@example.com", "password": PASSWORD, "token": other.token("/login")}
    assert other.post("/login", data=said).status_code == 303
    assert ann.post("/logout", data={"everywhere": "1", "token": ann.token("/settings")}).status_code == 303
    assert ann.cookies.get(REFRESH) is None
    assert other.get("/anomalies").status_code == 303


def test_the_sign_up_says_the_same_of_a_known_address(world: World) -> None:
    person(world, "ann@example.com")
    pages = []
    for email in ("ann@example.com", "new@example.com"):
        one = Visitor(world.app)
        said = {"email": email, "name": "Eve", "organization": "Eve's", "password": PASSWORD}
        answer = one.post("/signup", data={**said, "token": one.token("/signup")})
        pages.append((answer.status_code, re.sub(r"[0-9a-f]{64}", "", answer.text.replace(email, ""))))
    assert pages[0] == pages[1]


def test_a_reset_works_once_and_a_stale_link_is_told(world: World) -> None:
    person(world, "ann@example.com")
    one = Visitor(world.app)
    assert one.post("/reset", data={"email": "ann@example.com", "token": one.token("/reset")}).status_code == 200
    said = {"secret": token_of(world.database, "ann@example.com"), "password": "another good password"}
    done = one.post("/reset", data={**said, "token": one.token("/reset")})
    assert (done.status_code, done.headers["location"]) == (303, "/login?note=reset")
    assert one.post("/reset", data={**said, "token": one.token("/reset")}).status_code == 401


def test_a_viewer_sees_no_button_and_may_do_nothing(world: World) -> None:
    ann = person(world, "ann@example.com")
    ours = organization(world)
    vera = person(world, "vera@example.com")
    ann.post(
        "/settings/members",
        data={"email": "vera@example.com", "role": "viewer", "token": ann.token("/settings/members")},
    )
    secret = token_of(world.database, "vera@example.com")
    said = {"secret": secret, "password": PASSWORD, "token": vera.token(f"/invitation?token={secret}")}
    assert vera.post("/invitation", data=said).status_code == 303
    with psycopg.connect(world.database.url()) as owner:
        owner.execute(
            "DELETE FROM memberships WHERE organization_id <> %s AND user_id IN (SELECT user_id FROM memberships WHERE role = 'viewer')",
            (ours,),
        )
    vera = Visitor(world.app)
    said = {"email": "vera@example.com", "password": PASSWORD, "token": vera.token("/login")}
    assert vera.post("/login", data=said).status_code == 303
    where = f"/anomalies/{store(world, ours)}"
    assert "False positive" not in vera.get(where).text
    token = {"token": vera.token("/settings")}
    assert vera.post(where, data={**token, "status": "resolved", "etag": ""}).status_code == 403
    assert vera.post("/settings/sensitivity", data={**token, "percent": "75", "version": "0"}).status_code == 403
    assert vera.get("/stream?name=web").status_code == 200
    assert vera.post("/stream", data={**token, "name": "web", "version": "0", "muted": "1"}).status_code == 403
    assert vera.post("/stream/delete", data={**token, "name": "web"}).status_code == 403
    assert vera.post("/settings/keys", data={**token, "name": "mine", "scope": "events:write"}).status_code == 403
    assert vera.get("/billing").status_code == 403


def test_a_key_is_shown_once_rotated_and_revoked(world: World) -> None:
    ann = person(world, "ann@example.com")
    started = ann.post("/start", data={"token": ann.token("/start")}).text
    key = re.search(r"dlk_[a-z0-9]+\.[\w-]+", started)
    assert key is not None
    assert "https://api.example/v1/events" in started
    listed = ann.get("/settings/keys").text
    assert key[0] not in listed
    key_id = key[0].split(".")[0].removeprefix("dlk_")
    token = {"token": ann.token("/settings/keys")}
    rotated = ann.post(f"/settings/keys/{key_id}/rotate", data=token)
    assert rotated.status_code == 200
    assert key[0] not in rotated.text
    assert ann.post(f"/settings/keys/{key_id}/revoke", data=token).status_code == 303
    assert "revoked" in ann.get("/settings/keys").text
    assert ann.post(f"/settings/keys/{key_id}/destroy", data=token).status_code == 404


def test_the_slider_predicts_from_the_tenants_own_histogram(world: World) -> None:
    ann = person(world, "ann@example.com")
    with psycopg.connect(world.database.url()) as owner:
        period = owner.execute(
            "SELECT starts_at FROM billing_periods WHERE organization_id = %s", (organization(world),)
        ).fetchone()
        assert period is not None
        for back in range(10):
            owner.execute(
                "INSERT INTO usage_counters (organization_id, period_start, day, scored_events, opened)"
                " VALUES (%s, %s, %s, 1000, %s)",
                (organization(world), period[0], NOW.date() - timedelta(days=back), [0] * 15 + [2]),
            )
    assert "<dd>60</dd>" in ann.get("/settings/prediction?percent=50").text
    assert "<dd>0</dd>" in ann.get("/settings/prediction?percent=0").text
    token = {"token": ann.token("/settings")}
    assert ann.post("/settings/sensitivity", data={**token, "percent": "75", "version": "0"}).status_code == 303
    assert ann.post("/settings/sensitivity", data={**token, "percent": "25", "version": "0"}).status_code == 412
    assert ann.post("/settings/sensitivity", data={**token, "percent": "nan", "version": "1"}).status_code in {400, 422}


def test_a_stream_is_muted_paused_and_deleted(world: World) -> None:
    ann = person(world, "ann@example.com")
    store(world, organization(world))
    assert 'href="/stream?name=web"' in ann.get("/streams").text
    sent = {"token": ann.token("/stream?name=web"), "name": "web", "version": "0", "percent": "12.5", "muted": "1"}
    assert ann.post("/stream", data={**sent, "maintenance_until": "2030-01-02T03:04"}).status_code == 303
    shown = ann.get("/stream?name=web").text
    assert 'value="12.5"' in shown
    assert 'value="2030-01-02T03:04"' in shown
    assert ann.post("/stream", data=sent).status_code == 412
    assert ann.post("/stream", data={**sent, "version": "1", "percent": "much"}).status_code == 400
    assert ann.post("/stream", data={**sent, "version": "1", "percent": "", "paused": "1"}).status_code == 303
    assert "paused" in ann.get("/streams").text
    with psycopg.connect(world.database.url()) as owner:
        said = [m for (m,) in owner.execute("SELECT message FROM control_outbox ORDER BY id")]
    assert [(m["version"], m["sensitivity"], m["muted"], m["paused"]) for m in said] == [
        (1, 125, True, False),
        (2, None, True, True),
    ]
    assert ann.post("/stream/delete", data={"token": sent["token"], "name": "web"}).status_code == 303
    assert ann.get("/stream?name=web").status_code == 404
    with psycopg.connect(world.database.url()) as owner:
        said = [m for (m,) in owner.execute("SELECT message FROM control_outbox ORDER BY id")][2:]
    assert [(m["kind"], m["version"], m.get("paused", False)) for m in said] == [
        ("stream", 3, False),
        ("forget", 3, False),
    ]


def test_a_stream_shows_its_warm_up_and_its_anchor(world: World) -> None:
    ann = person(world, "ann@example.com")
    with psycopg.connect(world.database.url()) as owner:
        owner.execute(
            "INSERT INTO stream_standing VALUES (%(o)s, 'web', 700, 312, 86400, %(at)s, 312, NULL),"
            " (%(o)s, 'db/main', 9000, 4096, 500, %(at)s, 1000, 98304)",
            {"o": organization(world), "at": NOW},
        )
    listed = ann.get("/streams").text
    assert "warming 312/1,000, about 11 min left" in listed
    assert ">1.50<" in listed
    assert "Warming 312/1,000" in ann.get("/stream?name=web").text
    page = ann.get("/stream?name=db%2Fmain").text
    assert "1.50 bits" in page
    assert "Warm: what is found is billed" in page
    token = ann.token("/stream?name=db%2Fmain")
    assert ann.post("/stream/anchor", data={"token": token, "name": "db/main"}).status_code == 303
    with psycopg.connect(world.database.url()) as owner:
        kinds = [kind for (kind,) in owner.execute("SELECT message ->> 'kind' FROM control_outbox ORDER BY id")]
    assert kinds == ["stream", "anchor"]


def test_without_its_database_a_page_says_so(world: World) -> None:
    ann = person(world, "ann@example.com")
    with psycopg.connect(world.database.server.url(), autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{world.database.name}" ALLOW_CONNECTIONS false')
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (world.database.name,)
        )
    answer = ann.get("/anomalies")
    assert answer.status_code == 503
    assert "The database does not answer." in answer.text
    assert ann.get("/scan").status_code == 200
    assert ann.get("/readyz").status_code == 503
