"""What the chaos of billing runs: Kafka, PostgreSQL, the fake Stripe on a clock that is moved, tenants, our processes."""

import json
import random
import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
from confluent_kafka import TopicPartition

from billing import accounts, agreements, stripe_prices, webhooks
from billing import stripe_gateway as gateway
from billing import stripe_orders as orders
from billing.agreements import Wanted
from billing.plans import plans
from billing.stripe_objects import kind_of
from pipeline import kafka, topics
from pipeline.embedded import process
from pipeline.embedded.process import Child
from pipeline.embedded.stripe_fake.sandbox import Sandbox
from pipeline.embedded.stripe_fake.server import running as serving
from pipeline.stack import processes
from pipeline.stack.processes import Program
from schemas.models import OrganizationControl
from schemas.topics import CONTROL, USAGE
from tests.integration.sink_process import Stack
from tests.scenarios.billing_traffic import HOUR_MS, Message, Tenant
from tests.scenarios.stories import BUSY
from tests.stack import providers
from tests.stack.database import migrate
from tests.stack.fixtures import fresh_database, running, scratch
from tests.stack.stripe import KEY, FakeStripe

STEP = timedelta(minutes=16)
"""More than the longest back-off: each pass of the sender finds all that waits due."""
SECRET = "whsec_notasecret"  # pragma: allowlist secret
WATCHED = "watched"
"""The tenant whose usage a worker says, from events."""


@dataclass
class World:
    """What runs, the clock of our processes and of Stripe, and who was killed where."""

    stack: Stack
    fake: FakeStripe
    rng: random.Random
    now: datetime
    tenants: list[Tenant] = field(default_factory=list)
    customers: dict[str, str] = field(default_factory=dict)
    hits: Counter[str] = field(default_factory=Counter)
    running: dict[str, Child] = field(default_factory=dict)
    delivered: int = 0

    def tenant(self, name: str) -> Tenant:
        """The tenant of that name."""
        return next(one for one in self.tenants if one.name == name)


@contextmanager
def world(seed: int) -> Iterator[World]:
    """Components of its own, and tenants of every plan; all is stopped at the end, however it comes."""
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        broker = stack.enter_context(contextmanager(running)(providers.new_broker(folder)))
        server = stack.enter_context(contextmanager(running)(providers.new_postgres(folder)))
        empty = stack.enter_context(fresh_database(server))
        box = Sandbox(seed)
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        box.clock.frozen = int((hour - timedelta(days=41)).timestamp())
        fake_server = stack.enter_context(serving(box))
        http = stack.enter_context(httpx.Client(base_url=fake_server.url, timeout=60))
        made = World(
            Stack(broker, migrate(server, empty.name), folder),
            FakeStripe(fake_server.url, box, http),
            random.Random(seed),
            hour + timedelta(hours=3),
        )
        stack.callback(made.stack.end)
        topics.apply(made.stack.settings)
        sign_up(made, hour)
        yield made


def sign_up(given: World, hour: datetime) -> None:
    """Tenants of every plan; see the comment beside each."""
    connection = given.fake.connect()
    meter = stripe_prices.sync_meter(connection)
    prices = {plan.plan: stripe_prices.sync_plan(connection, meter, plan) for plan in plans()}
    last = int(hour.timestamp() * 1000)
    who = [
        # name, plan, share, began days ago, hours used, partitions of blocks
        ("late", "standard", 6, 40, 7, (0,)),  # a tenth of its usage is of a period that closed long ago
        ("growth", "growth", 34, 20, 19, (0,)),
        ("spread", "growth", 36, 20, 19, (0, 1)),  # on two partitions
        ("over", "standard", 9, 20, 19, (0,)),
        ("small", "standard", 5, 20, 19, (0,)),  # an override of 300 units: over its cap in the smallest run
        ("free", "developer", 8, 20, 19, (0,)),
        ("joins", "standard", 2, 20, 19, (0,)),  # on the free plan here until the applier hears of its subscription
        (WATCHED, "growth", 0, 20, 19, ()),
    ]
    with psycopg.connect(given.stack.database.url(), autocommit=True) as owner:
        for each in plans():
            stripe_prices.store(owner, each, prices[each.plan], given.fake.now(), livemode=False)
        for name, plan, share, ago, used, partitions in who:
            began, identity = hour - timedelta(days=ago), uuid.UUID(int=given.rng.getrandbits(128), version=4)
            accounts.create_organization(owner, identity, name, began - timedelta(days=2 * (name == "joins")))
            limits = None
            if name == "small":
                agreements.set_override(
                    owner, identity, plan, Wanted(included=300), by="test", reason="agreed", at=began
                )
                limits = (300, 360)
            if plan != "developer":
                given.fake.move(began)
                customer = gateway.ensure_customer(connection, str(identity), name)
                subscription = orders.ensure_subscription(connection, customer, prices[plan])
                given.customers[name] = customer
                if name != "joins":
                    accounts.subscribe(
                        owner, identity, customer_id=customer, subscription_id=subscription.id, plan=plan,
                        began_at=datetime.fromtimestamp(subscription.anchor, UTC),
                    )  # fmt: skip
            given.tenants.append(
                Tenant(
                    name, identity, plan, share, last - used * 24 * HOUR_MS, last, partitions,
                    late_first=int(began.timestamp() * 1000) + 2 * HOUR_MS if name == "late" else 0,
                    limits=limits, at_first=900 if name == "joins" else 0,
                )
            )  # fmt: skip
    producer = kafka.producer(given.stack.settings)
    known = OrganizationControl(id=given.tenant(WATCHED).id, version=1)
    producer.produce(CONTROL.name, known.to_bytes(), f"organization/{known.id}".encode())
    assert producer.flush(60) == 0
    given.fake.move(given.now)


def produce(given: World, batch: list[Message]) -> None:
    """Write usage records and wait until each is acknowledged."""
    producer = kafka.producer(given.stack.settings)
    for one in batch:
        while True:
            try:
                producer.produce(USAGE.name, one.value, one.key, partition=one.partition)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0


def said(given: World) -> int:
    """Records on the topic usage, the worker's too."""
    reader = kafka.consumer(given.stack.settings, "driftlock-chaos")
    try:
        partitions = reader.list_topics(USAGE.name, timeout=30).topics[USAGE.name].partitions
        return sum(reader.get_watermark_offsets(TopicPartition(USAGE.name, p), timeout=30)[1] for p in partitions)
    finally:
        reader.close()


def environ(given: World) -> dict[str, str]:
    """The settings of all that runs. At the highest sensitivity, so that a minute of events has its anomalies."""
    return {
        **given.stack.environ,
        **BUSY,
        "SENSITIVITY": "1.0",
        "FALSE_ALARMS_PER_DAY": "10000",
        "STRIPE_API_KEY": KEY,
        "STRIPE_API_BASE": given.fake.url,
        "WORKER_DATA_DIR": str(given.stack.folder / "worker"),
        "METRICS_PORT": "0",
    }


def start(given: World, program: Program, crash_at: str = "", *words: str, **settings: str) -> Child:
    """A process of ours; what ran of that name is not stopped."""
    logs = given.stack.folder / f"{program.name}-{len(given.stack.children)}"
    given_to_it = {**environ(given), "DRIFTLOCK_CRASH_AT": crash_at, **settings}
    child = processes.start(Program(program.name, (*program.words, *words)), given_to_it, logs)
    given.stack.children.append(child)
    given.running[program.name] = child
    return child


def restart_sink(given: World, crash_at: str = "") -> Child:
    """A usage sink. Without a group nobody waits for a dead member's session; the last point is only there with one."""
    group = "true" if crash_at.startswith("sink-usage:after-kafka-commit") else "false"
    return start(given, processes.SINK_USAGE, crash_at, KAFKA_DURABLE=group)


def start_once(given: World, program: Program, crash_at: str = "") -> Child:
    """One pass of the sender or of the applier, at the present of the moved clock."""
    given.now += STEP
    given.fake.move(given.now)
    return start(given, program, crash_at, "--once", "--at", f"{given.now:%Y-%m-%dT%H:%M:%S}")


def passed(given: World, program: Program, crash_at: str = "", timeout_s: float = 240) -> int:
    """A pass to its end; its exit code."""
    child = start_once(given, program, crash_at)
    code = child.popen.wait(timeout_s)
    assert code in (0, 1, 2, -signal.SIGKILL), process.tail(child.log, 5)
    return code


def deliver(given: World, most: int) -> int:
    """Store so many of the events that Stripe made, signed, as the receiver does; how many.

    When all were, old ones come again as new events: each says only that its object changed.
    """
    made = [event for event in given.fake.box.events if kind_of(event["type"])]
    batch = made[given.delivered : given.delivered + most]
    given.delivered += len(batch)
    while len(batch) < min(most, 3):
        batch.append({**given.rng.choice(made), "id": f"evt_again_{given.rng.getrandbits(60)}"})
    given.rng.shuffle(batch)
    with psycopg.connect(given.stack.database.url("driftlock_api"), autocommit=True) as api:
        for event in [*batch, *batch[:1]]:
            body = json.dumps(event)
            header = gateway.sign_webhook(body, SECRET, int(given.now.timestamp()))
            webhooks.receive(api, body.encode(), header, (SECRET,), given.now)
    return len(batch)


def apply_all(given: World) -> None:
    """Everything that Stripe has said by now is applied."""
    deliver(given, 1 << 30)
    for _ in range(20):
        if passed(given, processes.WEBHOOKS) == 0:
            return
    waits = given.stack.query("SELECT type, object_id, state, last_error FROM stripe_events WHERE state <> 'applied'")
    raise AssertionError(f"events of Stripe are not applied in 20 passes: {waits[:3]}")
