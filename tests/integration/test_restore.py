"""PostgreSQL restored to an older dump while Kafka and Stripe went on: nothing is sent until the ledger is rebuilt."""

import random
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from billing import accounts, alarms, restore
from billing import stripe_gateway as gateway
from billing import stripe_orders as orders
from billing.meter import send_due_hours, waiting
from billing.plans import latest
from billing.restore import NotRebuilt, SenderLocked
from billing.stripe_prices import sync_meter, sync_plan
from pipeline import kafka, topics
from pipeline.embedded import process
from pipeline.embedded.broker import Broker
from schemas.models import AnomalyUsage, Position
from schemas.topics import BLOCKS, USAGE
from tests.integration.meter_world import FIRST, World, make_world
from tests.integration.sink_process import Stack, produce, start_sink, wait, written
from tests.integration.test_reconcile import store_anomalies
from tests.stack.database import Database
from tests.stack.fixtures import fresh_database
from tests.stack.stripe import KEY, FakeStripe

HOUR = timedelta(hours=1)


@pytest.fixture
def world(database: Database, fake_stripe: FakeStripe) -> Iterator[World]:
    with make_world(database, fake_stripe) as made:
        yield made


def lock(world: World, database: Database) -> None:
    with psycopg.connect(database.url(), autocommit=True) as owner:
        restore.lock_sender(owner, {}, "operator", world.now)


def unlock(world: World, database: Database, *, accept: bool = False) -> restore.Unlocked:
    with psycopg.connect(database.url(), autocommit=True) as owner:
        return restore.unlock_sender(
            owner, world.stripe, world.meter, "usage-topic-id-0000000", "operator", world.now, accept=accept
        )


def test_a_locked_sender_sends_nothing_and_identifiers_get_a_new_epoch(world: World, database: Database) -> None:
    a, b = world.customers
    world.book(a, FIRST, 5)
    assert world.send().sent == 1
    lock(world, database)
    world.book(b, FIRST, 6)
    with pytest.raises(SenderLocked, match="billing unlock"):
        world.send()
    assert alarms.ringing(world.meter_role) == {"restored": 1}
    done = unlock(world, database)
    assert (done.epoch, done.unsent, done.accepted) == (2, 1, ())
    assert world.send().sent == 1
    world.settle()
    identifiers = [row[0] for row in world.meter_role.execute("SELECT sent_identifier FROM meter_hours").fetchall()]
    assert sorted(i.rpartition(":")[2] for i in identifiers) == ["1.1", "2.1"]
    assert alarms.ringing(world.meter_role) == {}
    with pytest.raises(NotRebuilt, match="not locked"):
        unlock(world, database)


def test_an_hour_that_stripe_has_otherwise_needs_a_person(world: World, database: Database) -> None:
    a, _ = world.customers
    world.book(a, FIRST, 5)
    world.send()
    # A credit was made after the dump and is gone with it: Stripe has 4, the rebuilt ledger 5.
    gateway.send_meter_event(
        world.stripe, world.meter, world.customers[a], 4, int(FIRST.timestamp()) + 2, "of the lost version"
    )
    lock(world, database)
    with pytest.raises(NotRebuilt, match="4 there, 5 here"):
        unlock(world, database)
    assert [hour.stripe for hour in unlock(world, database, accept=True).accepted] == [4]
    world.settle()
    actions = world.meter_role.execute("SELECT action, after FROM billing_actions ORDER BY seq").fetchall()
    assert ("sender.unlock", {"epoch": 2, "accepted_hours": 1}) in actions


def run(stack: Stack, fake: FakeStripe, *words: str) -> subprocess.CompletedProcess[str]:
    given = {**stack.environ, "STRIPE_API_KEY": KEY, "STRIPE_API_BASE": fake.url}
    argv = [sys.executable, "-m", "pipeline.cli", *words]
    root = Path(__file__).parents[2]
    return subprocess.run(argv, env=given, cwd=root, capture_output=True, text=True, timeout=90, check=False)


def seed(stack: Stack, fake: FakeStripe, present: datetime) -> list[uuid.UUID]:
    """Two organizations on standard since yesterday, with customers that Stripe knows."""
    fake.move(present - timedelta(hours=24))
    stripe = fake.connect()
    prices = sync_plan(stripe, sync_meter(stripe), latest("standard"))
    made = []
    with psycopg.connect(stack.database.url(), autocommit=True) as owner:
        for _ in range(2):
            organization_id = uuid.uuid4()
            customer = gateway.ensure_customer(stripe, str(organization_id), "Org")
            subscription = orders.ensure_subscription(stripe, customer, prices)
            began = datetime.fromtimestamp(subscription.anchor, UTC)
            names = {"customer_id": customer, "subscription_id": subscription.id, "plan": "standard"}
            accounts.seed(owner, organization_id, name="Org", began_at=began, **names)
            made.append(organization_id)
    fake.move(present)
    return made


def messages(
    stack: Stack, organizations: list[uuid.UUID], hours: list[datetime], count: int, first: int
) -> list[tuple[bytes, bytes]]:
    """Usage records of these hours, one unit each."""
    rng = random.Random(first)
    blocks = kafka.topic_ids(kafka.admin(stack.settings), [BLOCKS.name])[BLOCKS.name]
    made = []
    for n in range(first, first + count):
        organization_id = rng.choice(organizations)
        record = AnomalyUsage(
            usage_id=uuid.UUID(int=rng.getrandbits(128)),
            organization_id=organization_id,
            stream="app",
            is_anomaly=True,
            count=1,
            calibrated=True,
            occurred_at=int(rng.choice(hours).timestamp() * 1000) + 1000,
            position=Position(topic_id=blocks, partition=0, frame=n, event=0),
            detector_version="test",
        )
        made.append((str(organization_id).encode(), record.to_bytes()))
    return made


def send(stack: Stack, fake: FakeStripe) -> None:
    """A pass of the sender on its own connection."""
    stripe = fake.connect()
    with psycopg.connect(stack.database.url("driftlock_meter"), autocommit=True) as connection:
        report = send_due_hours(connection, stripe, sync_meter(stripe), fake.now, random.Random(1))
        assert (report.sent > 0, waiting(connection, fake.now())[0]) == (True, 0)


def sink(stack: Stack, records: int) -> None:
    child = start_sink(stack)
    wait(lambda: written(stack) >= records, what=f"{records} records")
    assert process.stop(child) == 0, process.tail(child.log)


def test_restored_rebuilt_reconciled_and_equal(
    own_broker: Broker, database: Database, fake_stripe: FakeStripe, tmp_path: Path
) -> None:
    present = datetime.now(UTC).replace(microsecond=0)
    this_hour = present.replace(minute=0, second=0)
    stack = Stack(own_broker, database, tmp_path)
    topics.apply(stack.settings)
    try:
        organizations = seed(stack, fake_stripe, present)
        before = written(stack)
        hours = [this_hour - n * HOUR for n in (5, 4, 3, 2)]
        first = messages(stack, organizations, hours[:3], 200, 0)
        produce(stack, USAGE.name, first)
        sink(stack, before + 200)
        send(stack, fake_stripe)
        with fresh_database(database.server, database.name) as dump:  # the older state
            produce(stack, USAGE.name, messages(stack, organizations, hours, 150, 200))
            sink(stack, before + 350)
            send(stack, fake_stripe)
            _after_the_restore(
                Stack(own_broker, Database(database.server, dump.name), tmp_path, stack.children), fake_stripe
            )
    finally:
        stack.end()


def _after_the_restore(restored: Stack, fake: FakeStripe) -> None:
    read = written(restored)
    assert restored.query("SELECT sum(units) FROM ledger") == [(200,)]
    done = run(restored, fake, "billing", "restored", "--by", "operator")
    assert (done.returncode, "epoch 2" in done.stdout) == (0, True), done.stderr
    locked = run(restored, fake, "meter", "run", "--once")
    assert (locked.returncode, "billing unlock" in locked.stderr) == (2, True), locked.stderr
    early = run(restored, fake, "billing", "unlock", "--by", "operator")
    assert (early.returncode, "until it has caught up" in early.stderr) == (2, True), early.stderr
    sink(restored, read + 150)
    done = run(restored, fake, "billing", "unlock", "--by", "operator")
    assert (done.returncode, "0 hours to send, 0 to send again" in done.stdout) == (0, True), done.stderr
    with psycopg.connect(restored.database.url(), autocommit=True) as owner:
        store_anomalies(owner)
    # The rows of the dump are behind what Stripe has; they are sent again under the new epoch, and agree.
    for _ in range(8):
        sent = run(restored, fake, "meter", "run", "--once", "--at", f"{fake.now():%Y-%m-%dT%H:%M:%S}Z")
        if sent.returncode == 0:
            break
        assert sent.returncode == 1, sent.stderr
        fake.move(fake.now() + timedelta(minutes=10))
    equal = run(restored, fake, "billing", "reconcile", "--full")
    assert (equal.returncode, equal.stdout.splitlines()[-1]) == (0, "ledger 350 units, Stripe 350 units"), equal.stdout
    assert restored.query("SELECT count(*) FROM alarms WHERE cleared_at IS NULL") == [(0,)]
