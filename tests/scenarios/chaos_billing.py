"""Kills and faults between usage and Stripe: `make chaos-billing UNITS=1000000 KILLS=30 SEED=1`.

Real Kafka, PostgreSQL, packer, worker, usage sinks, senders and appliers of webhooks, and the stateful fake Stripe on a clock
that is moved. Prints JSON lines and a table: truth (billing_traffic.py; of the watched tenant a clean scoring), ledger, hours,
Stripe. Ends with 1 unless every difference is 0 and every named crash point of the plan was hit.
"""

import argparse
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from pipeline import kafka
from pipeline.embedded import process
from pipeline.stack import processes
from schemas.models import AnomalyUsage
from schemas.settings import load
from schemas.topics import BLOCKS, USAGE
from tests.integration.sink_process import wait, written
from tests.scenarios import chaos_account, repeats, traffic
from tests.scenarios import chaos_world as worlds
from tests.scenarios.billing_traffic import Message, Truth, messages
from tests.scenarios.chaos_world import WATCHED, World
from tests.scenarios.repeats import Repeats

SINK = tuple(
    f"sink-usage:{point}"
    for point in ("assigned", "locked", "written", "dead-letters-sent", "before-commit", "after-commit", "after-kafka-commit")
)  # fmt: skip
SENDER = ("meter:before-send", "meter:after-send-before-mark")
APPLIER = tuple(
    f"webhooks:{point}"
    for point in ("after-fetch", "after-effect-before-mark", "after-effect-before-commit", "after-commit")
)
WORKER = tuple(
    f"worker:{point}" for point in ("after-score", "after-send", "after-ack", "mid-save", "after-states", "after-save")
)
AT_RANDOM = ("sink", "sender", "postgres", "applier", "worker")
EVENTS = "/v1/billing/meter_events"
FAULTS = [
    {"kind": "drop_applied", "chance": 0.02, "path": EVENTS},
    {"kind": "drop_late", "chance": 0.02, "late": 400, "path": EVENTS},
    {"kind": "drop", "chance": 0.01, "path": EVENTS},
    {"kind": "error", "chance": 0.025, "path": EVENTS},
    {"kind": "error_applied", "chance": 0.025, "path": EVENTS},
    {"kind": "rate_limit", "chance": 0.02, "path": EVENTS},
]

Say = Callable[[str], object]
Feed = Callable[[int], None]
"""Publishes so many events of the watched tenant."""


@dataclass
class Plan:
    """Who is to die, in order: a named point, or whom at random."""

    deaths: list[str]
    first_half: int = field(init=False)

    def __post_init__(self) -> None:
        self.first_half = len(self.deaths) // 2


def planned(kills: int, shuffle: Callable[[list[str]], None]) -> Plan:
    """So many deaths: the named points of sink, sender and applier, each at random, the worker's points, at random again.

    The applier's are in the first half: after that the tenant that joins is known, and may use more than the free units.
    """
    cycle = itertools.cycle(AT_RANDOM)
    wanted = [*APPLIER, *SINK, *SENDER, *AT_RANDOM, *WORKER]
    chosen = [*wanted[:kills], *itertools.islice(cycle, max(0, kills - len(wanted)))]
    early, others = [one for one in chosen if one in APPLIER], [one for one in chosen if one not in APPLIER]
    shuffle(others)
    cut = max(0, len(chosen) // 2 - len(early))
    first = early + others[:cut]
    shuffle(first)
    return Plan(first + others[cut:])


def kill_at(given: World, point: str, feed: Feed) -> None:
    """Let a process die at a crash point, and count it if it did."""
    if point in SENDER:
        died = worlds.passed(given, processes.METER, f"{point}:2") == -signal.SIGKILL
    elif point in APPLIER:
        worlds.deliver(given, 3)
        died = worlds.passed(given, processes.WEBHOOKS, f"{point}:1") == -signal.SIGKILL
    elif point in WORKER:
        process.kill(given.running["worker"])
        child = worlds.start(given, processes.WORKER, f"{point}:2")
        feed(200)
        died = _dies(child, point, lambda: feed(100))
        worlds.start(given, processes.WORKER)
    else:
        process.stop(given.running["sink-usage"])
        died = _dies(worlds.restart_sink(given, f"{point}:1"), point)
        if died:
            worlds.restart_sink(given)
    given.hits[point] += died


def _dies(child: process.Child, point: str, meanwhile: Callable[[], object] = lambda: None) -> bool:
    """Whether it dies within three minutes, as it was told to: a worker waits for the session of the one before to end."""
    for _ in range(180):
        try:
            code = child.popen.wait(1)
        except subprocess.TimeoutExpired:
            meanwhile()
            continue
        assert code == -signal.SIGKILL, f"{point}: {process.tail(child.log, 5)}"
        return True
    return False


def kill_any(given: World, whom: str) -> None:
    """Kill a process at a moment that chance decides."""
    if whom in ("sink", "worker"):
        program = processes.SINK_USAGE if whom == "sink" else processes.WORKER
        child = given.running[program.name]
        time.sleep(given.rng.random())  # when the kill falls is what is random here
        assert process.kill(child) == -signal.SIGKILL, process.tail(child.log, 5)
        worlds.restart_sink(given) if whom == "sink" else worlds.start(given, program)
    elif whom in ("sender", "applier"):
        if whom == "applier":
            worlds.deliver(given, 30)
        child = worlds.start_once(given, processes.METER if whom == "sender" else processes.WEBHOOKS)
        time.sleep(0.8 + given.rng.random() * 2)
        if process.kill(child) != -signal.SIGKILL:
            return  # it had ended before: no kill
    else:
        child = worlds.start_once(given, processes.METER)
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
        worlds.passed(given, processes.METER)
    given.now = max(given.now, until)
    given.fake.say("faults", {"rules": FAULTS})


def torment(
    given: World, records: Iterator[Message], portion: int, plan: Plan, feed: Feed, watched: int, say: Say
) -> None:
    """Feed portions, one kill each, then the rest."""
    began = time.monotonic()
    given.fake.say("faults", {"rules": FAULTS, "seed": given.rng.randrange(1 << 30)})
    worlds.restart_sink(given)
    worlds.start(given, processes.PACKER)
    worlds.start(given, processes.WORKER)
    for number, what in enumerate(plan.deaths):
        batch = list(itertools.islice(records, portion))
        behind = worlds.said(given)
        if what in SINK:
            process.stop(given.running["sink-usage"])  # else it may have read this portion before one is to die of it
        else:
            wait(lambda n=behind: written(given.stack) >= n, 240, f"{behind} records")  # type: ignore[misc]
        worlds.produce(given, batch)
        feed(watched // len(plan.deaths))
        if what in AT_RANDOM:
            kill_any(given, what)
        else:
            kill_at(given, what, feed)
        say(json.dumps({"death": number + 1, "of": what, "second": int(time.monotonic() - began)}))
        if number + 1 == plan.first_half:
            worlds.apply_all(given)
            outage(given)
    while batch := list(itertools.islice(records, 20_000)):
        worlds.produce(given, batch)


def settle(given: World, fed: Repeats) -> dict[UUID, AnomalyUsage]:
    """All is scored and written; then, without faults, all is certain at Stripe. The watched tenant's units by a clean scoring."""

    def complete() -> bool:
        (sums,) = given.stack.query(
            "SELECT coalesce(sum(scored_events + duplicate_events), 0) FROM usage_counters WHERE organization_id = %s",
            given.tenant(WATCHED).id,
        )
        for name in ("packer", "worker", "sink-usage"):
            assert given.running[name].alive(), process.tail(given.running[name].log, 5)
        return int(sums[0]) >= fed.events and written(given.stack) == worlds.said(given)

    wait(complete, 900, f"all records, and the {fed.events} events of the watched tenant")
    # The packer's ticks go on as long as it runs, and a stream that fell silent is an anomaly too: first `blocks` has an end.
    assert process.stop(given.running["packer"]) == 0
    units = chaos_account.clean(given)
    deadline = time.monotonic() + 180
    while chaos_account.entered(given) != units.keys() and time.monotonic() < deadline:
        time.sleep(0.5)
    for name in ("worker", "sink-usage"):
        child = given.running[name]
        assert process.stop(child) == 0, process.tail(child.log, 5)
    worlds.passed(given, processes.METER)
    given.fake.heal()
    worlds.apply_all(given)
    for _ in range(20):
        if worlds.passed(given, processes.METER) == 0:
            return units
    raise AssertionError("the sender does not come to an end in 20 passes")


def run(units: int, kills: int, seed: int, say: Say = print) -> int:
    """The whole run; the sum of all differences and of the crash points that were missed."""
    began, truth, fed = time.monotonic(), Truth(), Repeats()
    with worlds.world(seed) as given:
        settings = load(worlds.environ(given))
        client = kafka.admin(settings)
        blocks_id = kafka.topic_ids(client, [BLOCKS.name])[BLOCKS.name]
        users = [tenant for tenant in given.tenants if tenant.share]
        records = messages(users, blocks_id, units, kafka.topics(client)[USAGE.name], seed, truth)
        watched, producer = repeats.records(str(given.tenant(WATCHED).id), seed, fed), kafka.producer(settings)

        def feed(events: int) -> None:
            traffic.publish(producer, list(itertools.islice(watched, -(-events // 10))), traffic.Published())

        # About 8 units a message: the last kill falls while something is left to feed.
        plan = planned(kills, given.rng.shuffle)
        torment(given, records, max(20, units // 9 // (kills + 1)), plan, feed, max(6_500, units // 20), say)
        lines = chaos_account.add_watched(given, truth, fed, settle(given, fed))
        lines += chaos_account.figures(given, truth)
        requests = len(given.fake.box.log)
    missed = [point for point in plan.deaths if point not in AT_RANDOM and not given.hits[point]]
    for line in lines:
        say(json.dumps(line))
    say(chaos_account.show(lines))
    for point, count in sorted(given.hits.items()):
        say(json.dumps({"killed": point, "hits": count}))
    difference = sum(line["difference"] for line in lines)
    summary: dict[str, object] = {
        "units": sum(truth.units.values()),
        "messages": sum(truth.fates.values()),
        "events": fed.events,
    }
    summary |= {"repeats_within_horizon": fed.within, "repeats_beyond_horizon": fed.beyond}
    summary |= {"kills": sum(given.hits.values()), "not_hit": missed, "seed": seed, "requests_kept": requests}
    summary |= {"seconds": int(time.monotonic() - began), "difference": difference}
    say(json.dumps(summary))
    return int(difference) + len(missed)


def main() -> int:
    """Run as asked, and never longer than `--minutes`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=18)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=int, default=75)
    given = parser.parse_args()

    def end(number: int, _frame: object) -> None:
        raise SystemExit(f"stopped: {'time is up' if number == signal.SIGALRM else 'asked to'}")

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGALRM, end)
    signal.alarm(given.minutes * 60)
    return 1 if run(given.units, given.kills, given.seed, lambda line: sys.stdout.write(line + "\n")) else 0


if __name__ == "__main__":
    sys.exit(main())
