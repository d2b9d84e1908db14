"""Kills and faults between usage and Stripe: `make chaos-billing UNITS=1000000 KILLS=30 SEED=1`.

Real Kafka, PostgreSQL, usage sinks and senders, and the stateful fake Stripe on a clock that is moved. Prints JSON lines and
a table: truth (tests/scenarios/billing_traffic.py), ledger, hours, Stripe. Ends with 1 unless every difference is 0.
"""

import argparse
import itertools
import json
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg

from billing import accounts, actions, ledger
from billing import stripe_gateway as gateway
from billing import stripe_orders as orders
from billing.plans import latest
from billing.stripe_prices import sync_meter, sync_plan
from pipeline import kafka, topics
from pipeline.embedded import process
from pipeline.embedded.process import Child
from pipeline.embedded.stripe_fake.sandbox import Sandbox
from pipeline.embedded.stripe_fake.server import running as serving
from schemas.topics import BLOCKS, USAGE
from tests.integration.sink_process import Stack, start_sink, wait, written
from tests.scenarios.billing_traffic import HOUR_MS, Message, Tenant, Truth, messages
from tests.stack import providers
from tests.stack.database import migrate
from tests.stack.fixtures import fresh_database, running, scratch
from tests.stack.stripe import KEY, FakeStripe

SINK = tuple(
    f"sink-usage:{point}"
    for point in ("assigned", "locked", "written", "dead-letters-sent", "before-commit", "after-commit", "after-kafka-commit")
)  # fmt: skip
SENDER = ("meter:before-send", "meter:after-send-before-mark")
STEP = timedelta(minutes=16)
"""More than the longest back-off: each pass of the sender finds all that waits due."""
EVENTS = "/v1/billing/meter_events"
FAULTS = [
    {"kind": "drop_applied", "chance": 0.02, "path": EVENTS},
    {"kind": "drop_late", "chance": 0.02, "late": 400, "path": EVENTS},
    {"kind": "drop", "chance": 0.01, "path": EVENTS},
    {"kind": "error", "chance": 0.025, "path": EVENTS},
    {"kind": "error_applied", "chance": 0.025, "path": EVENTS},
    {"kind": "rate_limit", "chance": 0.02, "path": EVENTS},
]


@dataclass
class World:
    """What runs, the clock of the sender and of Stripe, and who was killed where."""

    stack: Stack
    fake: FakeStripe
    rng: random.Random
    now: datetime
    tenants: list[Tenant] = field(default_factory=list)
    customers: dict[str, str] = field(default_factory=dict)
    hits: Counter[str] = field(default_factory=Counter)
    sink: Child | None = None


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
    """Tenants of every plan; one on two partitions, one whose first period closed long ago."""
    connection = given.fake.connect()
    meter = sync_meter(connection)
    last = int(hour.timestamp() * 1000)
    who = [
        # name, plan, share, began days ago, hours used, partitions of blocks
        ("late", "standard", 6, 40, 7, (0,)),
        ("growth", "growth", 40, 20, 19, (0,)),
        ("spread", "growth", 42, 20, 19, (0, 1)),
        ("over", "standard", 9, 20, 19, (0,)),
        ("free", "developer", 3, 20, 19, (0,)),
    ]
    with psycopg.connect(given.stack.database.url(), autocommit=True) as owner:
        for name, plan, share, ago, used, partitions in who:
            began, identity = hour - timedelta(days=ago), uuid.UUID(int=given.rng.getrandbits(128), version=4)
            if plan == "developer":
                accounts.create_organization(owner, identity, name, began)
            else:
                given.fake.move(began)
                customer = gateway.ensure_customer(connection, str(identity), name)
                subscription = orders.ensure_subscription(
                    connection, customer, sync_plan(connection, meter, latest(plan))
                )
                given.customers[name] = customer
                accounts.seed(
                    owner, identity, name=name, customer_id=customer, subscription_id=subscription.id, plan=plan,
                    began_at=datetime.fromtimestamp(subscription.anchor, UTC),
                )  # fmt: skip
            late = int(began.timestamp() * 1000) + 2 * HOUR_MS if name == "late" else 0
            given.tenants.append(
                Tenant(name, identity, plan, share, last - used * 24 * HOUR_MS, last, partitions, late)
            )
    given.fake.move(given.now)


def produce(given: World, batch: list[Message]) -> None:
    """Write messages and wait until each is acknowledged."""
    producer = kafka.producer(given.stack.settings)
    for one in batch:
        while True:
            try:
                producer.produce(USAGE.name, one.value, one.key, partition=one.partition)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0


def restart_sink(given: World, crash_at: str = "") -> Child:
    """A usage sink. Without a group nobody waits for a dead member's session; the last point is only there with one."""
    group = "true" if crash_at.startswith("sink-usage:after-kafka-commit") else "false"
    given.sink = start_sink(given.stack, DRIFTLOCK_CRASH_AT=crash_at, KAFKA_DURABLE=group)
    return given.sink


def start_sender(given: World, crash_at: str = "") -> Child:
    """One pass of a sender, at the present of the moved clock."""
    given.now += STEP
    given.fake.move(given.now)
    child = process.start(
        "meter",
        [sys.executable, "-m", "pipeline.cli", "meter", "run", "--once", "--at", f"{given.now:%Y-%m-%dT%H:%M:%S}"],
        log=given.stack.folder / f"meter-{len(given.stack.children)}.log",
        env={
            **given.stack.environ,
            "STRIPE_API_KEY": KEY,
            "STRIPE_API_BASE": given.fake.url,
            "DRIFTLOCK_CRASH_AT": crash_at,
        },
    )
    given.stack.children.append(child)
    return child


def passed(given: World, crash_at: str = "", timeout_s: float = 240) -> int:
    """A pass to its end; its exit code."""
    child = start_sender(given, crash_at)
    code = child.popen.wait(timeout_s)
    assert code in (0, 1, 2, -signal.SIGKILL), process.tail(child.log, 5)
    return code


def kill_at(given: World, point: str) -> None:
    """Let a process die at a crash point, and count it if it did."""
    if point in SENDER:
        if passed(given, f"{point}:2") == -signal.SIGKILL:
            given.hits[point] += 1
        return
    assert given.sink is not None
    process.stop(given.sink)
    child = restart_sink(given, f"{point}:1")
    try:
        code = child.popen.wait(60)
    except subprocess.TimeoutExpired:
        return
    assert code == -signal.SIGKILL, process.tail(child.log, 5)
    given.hits[point] += 1
    restart_sink(given)


def kill_any(given: World, whom: str) -> None:
    """Kill a process at a moment that chance decides."""
    assert given.sink is not None
    if whom == "sink":
        time.sleep(given.rng.random())  # when the kill falls is what is random here
        assert process.kill(given.sink) == -signal.SIGKILL, process.tail(given.sink.log, 5)
        restart_sink(given)
    elif whom == "sender":
        child = start_sender(given)
        time.sleep(0.8 + given.rng.random() * 2)
        if process.kill(child) != -signal.SIGKILL:
            return  # it had ended before: no kill
    else:
        child = start_sender(given)
        time.sleep(0.8 + given.rng.random())
        given.stack.database.server.kill()
        child.popen.wait(240)
        given.stack.database.server.start()
    given.hits[f"random:{whom}"] += 1


def outage(given: World) -> None:
    """Stripe is away for 30 hours of the moved clock; the sender tries through it."""
    until = given.now + timedelta(hours=30)
    given.fake.say("faults", {"rules": [{"kind": "drop", "until": int(until.timestamp())}]})
    for _ in range(3):
        given.now += timedelta(hours=9)
        passed(given)
    given.now = max(given.now, until)
    given.fake.say("faults", {"rules": FAULTS})


def torment(given: World, feed: Iterator[Message], portion: int, kills: int) -> int:
    """Feed portions, one kill each, then the rest; how many messages."""
    given.fake.say("faults", {"rules": FAULTS, "seed": given.rng.randrange(1 << 30)})
    restart_sink(given)
    named = [*SINK, *SENDER]
    plan: list[tuple[Callable[[World, str], None], str]] = [(kill_at, point) for point in named[:kills]]
    plan += [
        (kill_any, whom) for _, whom in zip(range(kills - len(plan)), itertools.cycle(("sink", "sender", "postgres")))
    ]
    given.rng.shuffle(plan)
    sent = 0
    for number, (kill, what) in enumerate(plan):
        batch = list(itertools.islice(feed, portion))
        sent += len(batch)
        behind = sent - portion
        if what not in SINK:
            wait(lambda n=behind: written(given.stack) >= n, 240, f"{behind} records")  # type: ignore[misc]
        if what in SINK and given.sink is not None:
            process.stop(given.sink)  # else it may have read the portion before the one that is to die comes
        produce(given, batch)
        kill(given, what)
        if number == len(plan) // 2:
            outage(given)
    while batch := list(itertools.islice(feed, 20_000)):
        produce(given, batch)
        sent += len(batch)
    return sent


def settle(given: World, sent: int) -> None:
    """All is written; then, without faults, all is certain at Stripe."""
    assert given.sink is not None
    sink = given.sink
    wait(lambda: written(given.stack) == sent or not sink.alive(), 900, f"{sent} records")
    assert process.stop(sink) == 0, process.tail(sink.log, 5)
    passed(given)
    given.fake.heal()
    for _ in range(20):
        if passed(given) == 0:
            return
    raise AssertionError("the sender does not come to an end in 20 passes")


def figures(given: World, truth: Truth, sent: int) -> list[dict[str, Any]]:
    """A line per tenant and disposition, and what was checked besides, each with its difference."""
    ask = given.stack.query
    at_stripe: Counter[tuple[str, int]] = Counter()
    for row in given.fake.http.get("/_fake/usage").json():
        at_stripe[row["customer"], row["hour"]] += row["units"]
    lines = []
    for tenant in given.tenants:
        booked = dict(
            ask("SELECT disposition, sum(units)::bigint FROM ledger WHERE organization_id = %s GROUP BY 1", tenant.id)
        )
        for disposition, units in truth.dispositions(tenant).items():
            line: dict[str, Any] = {
                "tenant": tenant.name,
                "plan": tenant.plan,
                "disposition": disposition,
                "truth": units,
            }
            line |= {"ledger": booked.get(disposition, 0), "hours": None, "stripe": None}
            if disposition == "billable" and tenant.name in given.customers:
                hours = ask(
                    "SELECT coalesce(sum(units), 0)::bigint FROM meter_hours WHERE organization_id = %s", tenant.id
                )
                shown = sum(n for (customer, _), n in at_stripe.items() if customer == given.customers[tenant.name])
                line |= {"hours": hours[0][0], "stripe": shown}
            found = [line[name] for name in ("ledger", "hours", "stripe")]
            lines.append({**line, "difference": sum(abs(n - units) for n in found if n is not None)})
        strange = sum(n for name, n in booked.items() if name not in truth.dispositions(tenant))
        lines.append(_check(f"{tenant.name}: units of other dispositions", 0, strange))
        scored = ask(
            "SELECT coalesce(sum(scored_events), 0)::bigint FROM usage_counters WHERE organization_id = %s", tenant.id
        )
        lines.append(_check(f"{tenant.name}: events scored, free", truth.scored[tenant.name], scored[0][0]))
    per_hour = "SELECT customer_id, extract(epoch FROM meter_hour)::bigint, sum(units)::bigint FROM ledger"
    per_hour += " WHERE disposition = 'billable' AND customer_id IS NOT NULL GROUP BY 1, 2"
    ours = Counter({(customer, at): n for customer, at, n in ask(per_hour)})
    wrong = sum(ours[key] != at_stripe[key] for key in ours.keys() | at_stripe.keys())
    lines.append(_check(f"hours that differ between ledger and Stripe, of {len(ours)}", 0, wrong))
    names = ("written", "not_anomaly", "duplicates", "dead_letters")
    (counts,) = ask(
        f"SELECT {', '.join(f'sum({n})::bigint' for n in names)}, sum(next_offset)::bigint FROM sink_offsets"
    )
    lines += [_check(f"records {name}", truth.fates[name], n) for name, n in zip(names, counts, strict=False)]
    lines.append(_check("records by their offsets", sent, counts[-1]))
    with psycopg.connect(given.stack.database.url(), autocommit=True) as owner:
        for what, verify in (("ledger", ledger.verify), ("actions", actions.verify)):
            broken = [one.name for one in given.tenants if verify(owner, one.id) is not None]
            lines.append(_check(f"broken chains: {what}", 0, len(broken)))
    return lines


def _check(name: str, truth: int, found: int) -> dict[str, Any]:
    return {"check": name, "truth": truth, "found": found, "difference": abs(found - truth)}


def show(lines: list[dict[str, Any]]) -> str:
    """The lines as a table."""
    head = ("tenant or check", "disposition", "truth", "ledger", "hours", "stripe", "difference")
    rows = [head]
    for one in lines:
        mid = (
            one.get("disposition", ""),
            one["truth"],
            one.get("ledger", one.get("found")),
            one.get("hours"),
            one.get("stripe"),
        )
        first = one.get("check") or f"{one['tenant']} ({one['plan']})"
        rows.append(
            (first, *("" if n is None else f"{n:,}" if isinstance(n, int) else n for n in mid), str(one["difference"]))
        )
    return "\n".join(f"{r[0]:<55}{r[1]:<14}" + "".join(f"{n:>12}" for n in r[2:]) for r in rows)


def run(units: int, kills: int, seed: int, say: Callable[[str], object] = print) -> int:
    """The whole run; the sum of all differences."""
    began, truth = time.monotonic(), Truth()
    with world(seed) as given:
        client = kafka.admin(given.stack.settings)
        blocks_id = kafka.topic_ids(client, [BLOCKS.name])[BLOCKS.name]
        feed = messages(given.tenants, blocks_id, units, kafka.topics(client)[USAGE.name], seed, truth)
        # About 10 units and 1.3 messages a record: the last kill falls while something is left to feed.
        sent = torment(given, feed, max(20, units // 9 // (kills + 1)), kills)
        settle(given, sent)
        lines = figures(given, truth, sent)
        requests = len(given.fake.box.log)
    missed = [point for point in (*SINK, *SENDER)[:kills] if not given.hits[point]]
    for line in lines:
        say(json.dumps(line))
    say(show(lines))
    for point, count in sorted(given.hits.items()):
        say(json.dumps({"killed": point, "hits": count}))
    difference = sum(line["difference"] for line in lines)
    summary = {
        "units": sum(truth.units.values()),
        "messages": sent,
        "kills": sum(given.hits.values()),
        "not_hit": missed,
    }
    summary |= {
        "seed": seed,
        "requests_kept": requests,
        "seconds": int(time.monotonic() - began),
        "difference": difference,
    }
    say(json.dumps(summary))
    return difference + len(missed)


def main() -> int:
    """Run as asked, and never longer than `--minutes`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=int, default=60)
    given = parser.parse_args()

    def end(number: int, _frame: object) -> None:
        raise SystemExit(f"stopped: {'time is up' if number == signal.SIGALRM else 'asked to'}")

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGALRM, end)
    signal.alarm(given.minutes * 60)
    return 1 if run(given.units, given.kills, given.seed, lambda line: sys.stdout.write(line + "\n")) else 0


if __name__ == "__main__":
    sys.exit(main())
