"""The commands around Stripe's events as people and supervisors run them: exit codes, one line where something is wrong."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn

from pipeline.api import stripe_webhook
from pipeline.api.app import build
from pipeline.embedded import process
from schemas.settings import load
from tests.integration.sink_process import wait
from tests.integration.stripe_world import SECRET, StripeWorld, stripe_world
from tests.stack.database import Database
from tests.stack.stripe import KEY, FakeStripe

ROOT = Path(__file__).parents[2]


@pytest.fixture
def world(database: Database, fake_stripe: FakeStripe) -> Iterator[StripeWorld]:
    """At the real present, because commands go by it."""
    with stripe_world(database, fake_stripe, datetime.now(UTC).replace(microsecond=0)) as made:
        yield made


def environ(world: StripeWorld, database: Database, **more: str) -> dict[str, str]:
    stripe = {"STRIPE_API_KEY": KEY, "STRIPE_API_BASE": world.fake.url, "STRIPE_WEBHOOK_SECRETS": SECRET}
    return {"PATH": os.environ["PATH"], **database.environ(), **stripe, **more}


def run(world: StripeWorld, database: Database, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pipeline.cli", *words]
    given = environ(world, database, **more)
    return subprocess.run(argv, env=given, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def receiver(world: StripeWorld, database: Database) -> Iterator[str]:
    """The address of a running receiver, without the rest of the API."""
    store = stripe_webhook.storing(load(environ(world, database)), lambda: datetime.now(UTC))
    config = uvicorn.Config(
        build({}, "test", "test", hooks=[stripe_webhook.route(store)]), log_config=None, lifespan="off"
    )
    server = uvicorn.Server(config)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        wait(lambda: server.started, 20, "the receiver")
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}/webhooks/stripe"
        finally:
            server.should_exit = True
            thread.join()


def test_an_event_is_triggered_received_applied_dead_and_retried(world: StripeWorld, database: Database) -> None:
    world.check_out()
    (subscription,) = world.fake.box.all("subscription")
    with receiver(world, database) as url:
        kind = "customer.subscription.created"
        sent = run(world, database, "stripe", "trigger", kind, "--object-id", subscription["id"], "--url", url)
        assert (sent.returncode, "HTTP 200" in sent.stdout) == (0, True), sent.stderr
        lost = run(world, database, "stripe", "trigger", "invoice.paid", "--url", url)
        assert lost.returncode == 0, lost.stderr
        wrong = {"STRIPE_WEBHOOK_SECRETS": "whsec_other_notasecret"}  # pragma: allowlist secret
        refused = run(world, database, "stripe", "trigger", kind, "--url", url, **wrong)
        assert (refused.returncode, "HTTP 400" in refused.stdout) == (1, True)
        # The fake delivers its own events there too, signed as Stripe's are.
        world.fake.say("webhooks", {"url": url, "secret": SECRET})
        world.fake.form("POST", f"/v1/subscriptions/{subscription['id']}", "description=x")
        wait(lambda: len(world.rows("SELECT 1 FROM stripe_events")) == 3, 20, "the fake's own event")
    applied = run(world, database, "webhooks", "run", "--once")
    assert (applied.returncode, applied.stdout) == (0, "events waiting 0, dead 0\n"), applied.stderr
    assert world.rows("SELECT plan, status FROM subscriptions") == [("standard", "active")]
    world.owner.execute("UPDATE stripe_events SET state = 'dead', attempts = 5 WHERE type = 'invoice.paid'")
    listed = run(world, database, "stripe", "events", "list")
    assert (listed.stdout.count("\n"), "0 wait, 1 are dead" in listed.stdout) == (2, True), listed.stderr
    assert run(world, database, "stripe", "events", "retry", "evt_nobody").returncode == 1
    assert run(world, database, "stripe", "events", "retry").stdout == "1 events will be applied again\n"
    assert run(world, database, "webhooks", "run", "--once").returncode == 0


def test_a_resync_finds_what_no_webhook_brought(world: StripeWorld, database: Database) -> None:
    world.check_out()
    done = run(world, database, "stripe", "resync")
    assert (done.returncode, "subscriptions 1, invoices 1, not stored 0" in done.stdout) == (0, True), done.stderr
    assert world.rows("SELECT plan FROM subscriptions") == [("standard",)]
    world.owner.execute("DELETE FROM stripe_prices")
    failed = run(world, database, "stripe", "resync", "--days", "1")
    assert (failed.returncode, "is of no plan" in failed.stdout) == (1, True), failed.stderr


@pytest.mark.parametrize("point", ["webhooks:after-effect-before-mark", "webhooks:after-effect-before-commit"])
def test_a_killed_applier_applies_once(world: StripeWorld, database: Database, point: str) -> None:
    world.check_out()
    world.deliver([e for e in world.fresh_events() if e["type"] == "customer.subscription.created"])
    killed = run(world, database, "webhooks", "run", "--once", DRIFTLOCK_CRASH_AT=point)
    assert killed.returncode == -9, killed.stderr
    assert world.rows("SELECT state FROM stripe_events") == [("stored",)]
    assert run(world, database, "webhooks", "run", "--once").returncode == 0
    assert world.rows("SELECT count(*) FROM outbox WHERE kind = 'billing.plan_changed'") == [(1,)]


def test_the_loop_applies_what_comes_and_stops_when_it_is_told(
    world: StripeWorld, database: Database, tmp_path: Path
) -> None:
    argv = [sys.executable, "-m", "pipeline.cli", "webhooks", "run"]
    child = process.start("webhooks", argv, log=tmp_path / "w.log", env=environ(world, database), cwd=ROOT)
    try:
        world.check_out()
        world.deliver()
        wait(lambda: world.rows("SELECT count(*) FROM subscriptions") == [(1,)], 30, "the subscription")
    finally:
        assert process.stop(child) == 0, process.tail(child.log)


def test_reconciling_goes_on_and_stops_when_it_is_told(world: StripeWorld, database: Database, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pipeline.cli", "billing", "reconcile", "--every", "1", "--no-kafka"]
    child = process.start("reconcile", argv, log=tmp_path / "r.log", env=environ(world, database), cwd=ROOT)
    try:
        wait(lambda: '"event": "reconciled"' in (tmp_path / "r.log").read_text(), 30, "a pass")
    finally:
        assert process.stop(child) == 0, process.tail(child.log)


def test_what_is_set_wrong_is_one_line_and_exit_2(world: StripeWorld, database: Database) -> None:
    live = {"STRIPE_ALLOW_LIVE": "true", "STRIPE_API_KEY": "rk_live_notasecret"}  # pragma: allowlist secret
    cases: list[tuple[tuple[str, ...], dict[str, str]]] = [
        (("webhooks", "run", "--once"), {"DATABASE_URL_WEBHOOK": ""}),
        (("webhooks", "run"), {"STRIPE_API_KEY": "sk_live_notasecret"}),  # pragma: allowlist secret
        (("stripe", "trigger", "invoice.paid"), {"STRIPE_WEBHOOK_SECRETS": ""}),
        (("stripe", "trigger", "invoice.paid", "--url", "https://example.org/"), {}),
        (("stripe", "verify-assumptions"), live),
        (("billing", "reconcile", "--no-kafka"), {"DATABASE_URL_METER": ""}),
    ]
    for words, more in cases:
        ended = run(world, database, *words, **more)
        lines = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
        assert (ended.returncode, len(lines)) == (2, 1), (words, ended.stderr)
        assert "notasecret" not in ended.stderr


def test_reconcile_prints_a_table(world: StripeWorld, database: Database) -> None:
    world.check_out()
    world.settle()
    equal = run(world, database, "billing", "reconcile", "--no-kafka")
    assert (equal.returncode, equal.stdout.count("\n")) == (0, 8), equal.stdout + equal.stderr
    world.owner.execute("INSERT INTO usage_counters (organization_id, period_start, day, billable)"
        " SELECT organization_id, starts_at, starts_at::date, 5 FROM billing_periods")  # fmt: skip
    differs = run(world, database, "billing", "reconcile", "--no-kafka")
    assert (differs.returncode, "R2" in differs.stdout.splitlines()[7]) == (1, True), differs.stdout
