"""The sender on real PostgreSQL and the fake Stripe over HTTP: ledger = hours sent = Stripe, whatever happens between."""

import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from billing import stripe_gateway as gateway
from billing.meter import Report, send_due_hours, waiting
from billing.reconcile import reopen
from pipeline import meter
from pipeline.embedded import process
from schemas.settings import load
from tests.integration.meter_world import FIRST, START, Died, World, make_world, run_meter
from tests.stack.database import Database, migrate
from tests.stack.fixtures import fresh_database
from tests.stack.providers import Server
from tests.stack.stripe import KEY, FakeStripe


@pytest.fixture
def world(database: Database, fake_stripe: FakeStripe) -> Iterator[World]:
    """Two organizations whose standard subscriptions began 24 hours ago."""
    with make_world(database, fake_stripe) as made:
        yield made


def test_the_hours_that_are_over_are_sent_once(world: World) -> None:
    a, b = world.customers
    world.book(a, FIRST, 7)
    world.book(a, FIRST, 3)
    world.book(b, FIRST + timedelta(hours=1), 4)
    world.book(b, FIRST + timedelta(hours=2), 9, calibrated=False)
    world.book(a, START, 100)
    assert world.send() == Report(sent=2)
    assert world.send() == Report()
    del world.truth[world.customers[a], START]
    world.assert_equal()
    world.truth[world.customers[a], START] = 100
    world.pass_time(timedelta(hours=1))
    assert world.send() == Report(sent=1)
    world.assert_equal()


def test_an_hour_that_changes_is_sent_again(world: World) -> None:
    a, _ = world.customers
    for units in (7, 3, 5):
        world.book(a, FIRST, units)
        assert world.send() == Report(sent=1)
        world.assert_equal()


FAULT = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(("drop", "drop_applied", "drop_late", "error", "error_applied", "rate_limit")),
        "left": st.integers(1, 3),
        "late": st.integers(0, 600),
        "path": st.sampled_from(("/v1/", "/v1/billing/meter_events")),
    }
)
STEP = st.one_of(
    st.tuples(st.just("book"), st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(1, 9))),
    st.tuples(st.just("send"), st.lists(FAULT, max_size=2)),
    st.tuples(st.just("die"), st.sampled_from(("meter:before-send", "meter:after-send-before-mark"))),
    st.tuples(st.just("time"), st.sampled_from((5, 60, 600, 4000))),
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate],  # an example takes a second: shrinking one would take minutes
)
@given(steps=st.lists(STEP, min_size=6, max_size=20), newest_by=st.sampled_from(("arrival", "timestamp")))
def test_any_interleaving_of_faults_deaths_and_changes_ends_equal(
    database: Database, fake_stripe: FakeStripe, steps: list[tuple[str, Any]], newest_by: str
) -> None:
    with make_world(database, fake_stripe) as world:
        fake_stripe.say("usage", {"newest_by": newest_by, "lag": 0})
        organizations = list(world.customers)

        def die_at(point: str) -> Any:
            def crash(name: str) -> None:
                if name == point:
                    raise Died

            return crash

        for kind, what in steps:
            if kind == "book":
                world.book(organizations[what[0]], FIRST + timedelta(hours=what[1]), what[2])
            elif kind == "time":
                world.pass_time(timedelta(seconds=what))
            elif kind == "send":
                fake_stripe.say("faults", {"rules": what})
                world.send()
            else:
                with contextlib.suppress(Died):
                    world.send(die_at(what))
        world.settle()


@pytest.mark.parametrize("killed", [False, True])
def test_an_older_request_that_lands_after_a_newer_one_is_overwritten(world: World, killed: bool) -> None:
    a, _ = world.customers
    world.book(a, FIRST, 5)
    world.fake.fail("drop_late", left=1, late=300, path="/v1/billing/meter_events")

    def die(name: str) -> None:
        if killed and name == "meter:after-send-before-mark":
            raise Died

    with contextlib.suppress(Died):
        assert world.send(die) == Report(unanswered=1)
    world.book(a, FIRST, 2)
    world.pass_time(timedelta(seconds=10))
    assert world.send() == Report(sent=1)
    world.assert_equal()
    world.pass_time(timedelta(seconds=300))
    assert [(h.ledger, h.stripe) for h in world.compare().differences] == [(7, 5)]
    world.settle()
    assert world.meter_role.execute("SELECT version, state FROM meter_hours").fetchall() == [(3, "confirmed")]


def test_a_request_that_lands_hours_late_is_found_by_reconciling(world: World) -> None:
    a, _ = world.customers
    world.book(a, FIRST, 5)
    world.fake.fail("drop_late", left=1, late=4 * 3600, path="/v1/billing/meter_events")
    assert world.send().unanswered == 1
    world.book(a, FIRST, 2)
    world.settle()
    world.pass_time(timedelta(hours=4))
    found = world.compare()
    assert [(h.ledger, h.stripe) for h in found.differences] == [(7, 5)]
    assert reopen(world.meter_role, found.differences, world.now) == 1
    world.settle()


def test_stripe_down_for_thirty_hours_costs_few_requests_and_nothing_else(world: World) -> None:
    a, b = world.customers
    world.fake.fail("drop", until=int((world.now + timedelta(hours=30)).timestamp()))
    world.fake.http.delete("/_fake/requests")
    for n in range(120):
        if n % 12 == 0:
            world.book(a, world.now.replace(minute=0) - timedelta(hours=1), n + 1)
            world.book(b, world.now.replace(minute=0) - timedelta(hours=1), 1)
        world.send()
        world.pass_time(timedelta(minutes=15))
    assert len(world.fake.box.log) <= 400
    world.settle()


def test_429_waits_and_is_no_doubt(world: World) -> None:
    a, _ = world.customers
    world.book(a, FIRST, 5)
    world.fake.fail("rate_limit", left=1)
    assert world.send() == Report(busy=1)
    assert world.send() == Report()  # not before the back-off is over
    world.pass_time(timedelta(seconds=3))
    assert world.send() == Report(sent=1)
    assert world.meter_role.execute("SELECT DISTINCT state FROM meter_hours").fetchall() == [("sent",)]


def test_a_refusal_is_kept_and_tried_an_hour_later(world: World) -> None:
    a, _ = world.customers
    world.book(a, FIRST, 5)
    world.fake.form("POST", f"/v1/billing/meters/{world.meter.id}/deactivate")
    assert world.send() == Report(refused=1)
    (said,) = world.meter_role.execute("SELECT last_error FROM meter_hours").fetchall()
    assert "No active meter" in said[0]
    assert world.send() == Report()
    world.fake.form("POST", f"/v1/billing/meters/{world.meter.id}/reactivate")
    world.pass_time(timedelta(hours=1))
    assert world.send() == Report(sent=1)
    world.assert_equal()


def test_three_silences_in_a_row_end_the_pass(database: Database, fake_stripe: FakeStripe) -> None:
    with make_world(database, fake_stripe, organizations=5) as world:
        for organization_id in world.customers:
            world.book(organization_id, FIRST, 5)
        world.fake.fail("drop")
        assert world.send() == Report(unanswered=3, down=True)
        world.settle()


def test_one_request_in_flight_per_customer(world: World, database: Database) -> None:
    a, _ = world.customers
    world.book(a, FIRST, 5)
    inner: list[Report] = []

    def second_sender(name: str) -> None:
        if name == "meter:before-send":
            with psycopg.connect(database.url("driftlock_meter"), autocommit=True) as other:
                inner.append(send_due_hours(other, world.stripe, world.meter, lambda: world.now, random.Random(1)))

    assert world.send(second_sender) == Report(sent=1)
    assert inner == [Report(held_elsewhere=1)]


def test_the_other_mode_is_refused_and_so_is_a_transaction(world: World, database: Database) -> None:
    live = gateway.Connection(world.stripe.client, livemode=True)
    with pytest.raises(gateway.LiveModeMismatch):
        send_due_hours(world.meter_role, live, world.meter, lambda: world.now, random.Random(1))
    with psycopg.connect(database.url("driftlock_meter")) as closed, pytest.raises(ValueError, match="autocommit"):
        send_due_hours(closed, world.stripe, world.meter, lambda: world.now, random.Random(1))


@pytest.mark.parametrize("point", ["meter:before-send", "meter:after-send-before-mark", "meter:before-send:2"])
def test_a_killed_sender_sends_nothing_twice(world: World, database: Database, point: str) -> None:
    a, b = world.customers
    world.book(a, FIRST, 5)
    world.book(b, FIRST, 6)
    once = ("meter", "run", "--once", "--at", f"{world.now:%Y-%m-%dT%H:%M:%S}Z")
    killed = run_meter(world, database, *once, DRIFTLOCK_CRASH_AT=point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = run_meter(world, database, *once)
    assert again.returncode == 1, again.stderr  # the doubtful hour waits to be read twice
    assert "Traceback" not in again.stderr
    world.settle()
    done = run_meter(world, database, *once)
    assert (done.returncode, done.stdout.count("waiting 0")) == (0, 1)


def test_bad_settings_are_one_line_and_exit_2(world: World, database: Database) -> None:
    cases = [
        {"STRIPE_API_KEY": "sk_live_notasecret"},  # pragma: allowlist secret
        {"STRIPE_API_KEY": "notasecret"},  # pragma: allowlist secret
        {"DATABASE_URL_METER": "postgresql://driftlock_meter@127.0.0.1:9/x"},
        {"DATABASE_URL_METER": ""},
    ]
    for n, environ in enumerate(cases):
        ended = run_meter(world, database, "meter", "run", *(["--once"] * (n % 2)), **environ)
        lines = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
        assert (ended.returncode, len(lines)) == (2, 1), ended.stderr
        assert "notasecret" not in ended.stderr


def test_prices_are_synced_and_totals_read_back_by_command(world: World, database: Database) -> None:
    a, _ = world.customers
    owner = {"DATABASE_URL": database.url()}
    missing = run_meter(world, database, "stripe", "sync-prices", "--dry-run")
    assert (missing.returncode, missing.stdout.splitlines()[-1]) == (1, "3 differences"), missing.stderr
    synced = run_meter(world, database, "stripe", "sync-prices", **owner)
    assert (synced.returncode, synced.stdout.count("\n")) == (0, 6), synced.stderr
    assert run_meter(world, database, "stripe", "sync-prices", **owner).stdout == synced.stdout
    assert run_meter(world, database, "stripe", "sync-prices", "--dry-run").returncode == 0
    back = ("stripe", "read-back", "--at", f"{world.now:%Y-%m-%dT%H:%M:%S}Z")
    world.book(a, FIRST, 5)
    differs = run_meter(world, database, *back)
    assert (differs.returncode, "differs" in differs.stdout) == (1, True), differs.stderr
    world.send()
    equal = run_meter(world, database, *back)
    assert (equal.returncode, equal.stdout.splitlines()[-1]) == (0, "ledger 5 units, Stripe 5 units"), equal.stderr


def start_loop(world: World, database: Database, folder: Path) -> process.Child:
    given = {"DATABASE_URL_METER": database.url("driftlock_meter"), "STRIPE_API_KEY": KEY}
    return process.start(
        "meter",
        [sys.executable, "-m", "pipeline.cli", "meter", "run"],
        log=folder / "meter.log",
        env={"PATH": os.environ["PATH"], "STRIPE_API_BASE": world.fake.url, **given},
        cwd=Path(__file__).parents[2],
    )


def test_the_loop_outlives_a_killed_postgresql_and_stops_when_it_is_told(
    own_postgres: Server, fake_stripe: FakeStripe, tmp_path: Path
) -> None:
    present = datetime.now(UTC).replace(microsecond=0)
    hour = present.replace(minute=0, second=0) - timedelta(hours=3)
    with fresh_database(own_postgres) as empty:
        database = migrate(own_postgres, empty.name)
        with make_world(database, fake_stripe, organizations=1, start=present) as world:
            (a,) = world.customers
            world.book(a, hour, 5)
            child = start_loop(world, database, tmp_path)
            try:
                process.wait_ready(child, lambda: waiting(world.meter_role, present)[0] == 0, timeout_s=60)
                own_postgres.kill()
                own_postgres.start()
                with world.connect(database):
                    world.book(a, hour + timedelta(hours=1), 6)
                    process.wait_ready(child, lambda: waiting(world.meter_role, present)[0] == 0, timeout_s=60)
                    world.assert_equal()
            finally:
                assert process.stop(child) == 0, process.tail(child.log)


def test_what_waits_is_said_though_stripe_was_away_from_the_start(world: World, database: Database) -> None:
    present = datetime.now(UTC).replace(microsecond=0)
    hour = present.replace(minute=0, second=0) - timedelta(hours=3)
    with make_world(database, world.fake, organizations=1, start=present) as late:
        (a,) = late.customers
        late.book(a, hour, 5)
        late.fake.say("faults", {"rules": [{"kind": "error"}]})
        given = {"DATABASE_URL_METER": database.url("driftlock_meter"), "STRIPE_API_KEY": KEY}
        loaded = load({**given, "STRIPE_API_BASE": late.fake.url})
        meter.OLDEST.set(0)
        stop, status = threading.Event(), meter.Status()
        thread = threading.Thread(
            target=meter.run, args=(loaded, stop, status, meter.present, random.Random(1)), daemon=True
        )
        thread.start()
        deadline = time.monotonic() + 60
        while "StripeUnanswered" not in status.wrong():
            assert time.monotonic() < deadline, status.wrong()
            time.sleep(0.05)
        stop.set()
        thread.join(60)
    assert (REGISTRY.get_sample_value("driftlock_meter_oldest_waiting_seconds") or 0) >= 2 * 3600
