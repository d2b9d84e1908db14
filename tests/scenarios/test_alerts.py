"""Alerts while the anomalies sink and the sender are killed -9: each episode is told once by each rule, whatever dies."""

import random
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from pipeline import topics
from pipeline.embedded import process
from pipeline.embedded.broker import Broker
from pipeline.embedded.process import Child
from pipeline.tenants import endpoints, rules
from pipeline.tenants.endpoints import Address
from pipeline.tenants.rules import RuleSettings
from schemas.models import Anomaly
from schemas.topics import ANOMALIES
from tests.integration import receiver as receivers
from tests.integration.alerts_world import MASTER, SEALING, book
from tests.integration.api_world import anomaly
from tests.integration.sink_process import Stack, produce, start_sink, wait, written
from tests.integration.test_alert_mails import Inbox, smtp_server
from tests.stack.database import Database

LEAST, PORTION, REVISIONS = 60, 6, 3
SINK = ("written:2", "before-commit:2", "after-commit:1")
SENDER = ("spread-before-commit:1", "posted-before-mark:3", "posted-before-mark:12")


@dataclass
class Mortal:
    """A process that dies at one point after the other, and then by our hand; each time it is started again."""

    begin: Callable[[str], Child]
    points: list[str]
    child: Child = field(init=False)
    deaths: int = 0

    def __post_init__(self) -> None:
        self.child = self.begin(self.points.pop(0) if self.points else "")

    def tend(self, rng: random.Random, *, kill: bool) -> None:
        """Start it again where it died; sometimes kill it."""
        code = self.child.popen.poll()
        if code is None:
            if kill and not self.points and rng.random() < 0.01:
                process.kill(self.child)
            return
        assert code == -9, process.tail(self.child.log, 5)
        self.deaths += 1
        self.child = self.begin(self.points.pop(0) if self.points else "")


def start_sender(stack: Stack, crash_at: str, environ: dict[str, str]) -> Child:
    """`driftlock alerts run` as a real process."""
    child = process.start(
        "alerts",
        [sys.executable, "-m", "pipeline.cli", "alerts", "run"],
        log=stack.folder / f"alerts-{len(stack.children)}.log",
        env={**stack.environ, **environ, "DRIFTLOCK_CRASH_AT": crash_at, "METRICS_PORT": "0"},
    )
    stack.children.append(child)
    return child


def episodes(o: uuid.UUID, numbers: range, rng: random.Random) -> list[Anomaly]:
    """Revisions of episodes, each in order, the last of which ends it; some come again, as a worker repeats frames."""
    left = [
        [
            anomaly(o, n, revision=r, open=r < REVISIONS, severity="critical" if n % 3 == 0 else "low")
            for r in range(1, REVISIONS + 1)
        ]
        for n in numbers
    ]
    said: list[Anomaly] = []
    while waiting := [revisions for revisions in left if revisions]:
        said.append(rng.choice(waiting).pop(0))
        if rng.random() < 0.2:
            said.append(rng.choice(said))
    return said


def test_each_episode_is_told_once_by_each_rule_through_kills(
    own_broker: Broker, database: Database, tmp_path: Path
) -> None:
    rng = random.Random(1)
    stack = Stack(own_broker, database, tmp_path)
    topics.apply(stack.settings)
    o, inbox = uuid.uuid4(), Inbox(says=["451 busy"])
    with (
        receivers.receiver() as server,
        smtp_server(inbox) as mail,
        psycopg.connect(database.url(), autocommit=True) as owner,
        psycopg.connect(database.url("driftlock_api"), autocommit=True) as api,
    ):
        now = datetime.now(UTC)
        owner.execute(
            "INSERT INTO organizations (id, name, created_at, billing_email) VALUES (%s, 'Acme', %s, 'ops@acme.test')",
            (o, now),
        )
        made = [
            endpoints.create_endpoint(api, o, to.kind, to, (), sealing=SEALING, by="test", at=now)
            for to in (Address("webhook", server.url("/hook")), Address("email", "ops@acme.test"))
        ]
        hook, box = (one.endpoint.id for one in made)
        every = rules.create_rule(api, o, RuleSettings("all", (hook,), recovery=True), by="test", at=now).id
        worst = rules.create_rule(
            api, o, RuleSettings("worst", (hook, box), min_severity="critical"), by="test", at=now
        ).id
        server.answers.append(receivers.status(500))
        sent = count = 0
        environ = {"ALERTS_SECRET_KEY": MASTER, "ALERTS_ALLOW_LOOPBACK": "true", **mail}
        try:
            sink = Mortal(
                # Without a group: a dead member's partitions would wait for the end of its session.
                lambda point: start_sink(
                    stack, "anomalies", DRIFTLOCK_CRASH_AT=point and f"sink-anomalies:{point}", KAFKA_DURABLE="false"
                ),
                list(SINK),
            )
            sender = Mortal(lambda point: start_sender(stack, point and f"alerts:{point}", environ), list(SENDER))

            def done() -> bool:
                """One step: more episodes once the sink has all, as long as somebody has yet to die; whether all is told."""
                nonlocal sent, count
                settled = written(stack, "sink-anomalies") == sent
                if settled and (count < LEAST or sink.points or sender.points):
                    said = episodes(o, range(count, count + PORTION), rng)
                    for n in range(count, count + PORTION):
                        book(owner, o, n + 1, uuid.UUID(int=n + 1), "billable")
                    produce(stack, ANOMALIES.name, [(str(o).encode(), a.to_bytes()) for a in said])
                    sent, count = sent + len(said), count + PORTION
                    return False
                for one in (sink, sender):
                    one.tend(rng, kill=count < LEAST)
                (row,) = stack.query(
                    "SELECT count(*) FILTER (WHERE spread_at IS NULL),"
                    " (SELECT count(*) FROM alert_deliveries WHERE state <> 'delivered') FROM outbox"
                )
                return settled and not sender.points and not sink.points and row == (0, 0)

            wait(done, 150, "everything told")
            assert process.stop(sink.child) == 0
            assert process.stop(sender.child) == 0
        finally:
            stack.end()
    assert sink.deaths >= len(SINK)
    assert sender.deaths >= len(SENDER)
    ids = {str(uuid.UUID(int=n + 1)): n for n in range(count)}
    wanted = {(str(every), id_, kind) for id_ in ids for kind in ("anomaly.created", "anomaly.resolved")}
    wanted |= {(str(worst), id_, "anomaly.created") for id_, n in ids.items() if n % 3 == 0}
    # A receiver drops a message id that it has had: what is left is each thing once.
    told = {request.id: request.said for request in server.requests}
    keys = [(said["data"]["rule_id"], said["data"]["anomaly"]["id"], said["type"]) for said in told.values()]
    assert Counter(keys) == Counter(wanted)
    first = {request.id: at for at, request in reversed(list(enumerate(server.requests)))}
    order = sorted(told, key=lambda id_: first[id_])
    begun: set[str] = set()
    for said in (told[id_] for id_ in order):
        if said["data"]["rule_id"] == str(every):
            assert (said["type"] == "anomaly.created") is (said["data"]["anomaly"]["id"] not in begun)
            begun.add(said["data"]["anomaly"]["id"])
    mails = {str(one["Message-ID"]) for one in inbox.mails}
    assert len(mails) == len(range(0, count, 3))
    assert stack.query("SELECT count(*), count(DISTINCT (rule_id, anomaly_id)) FROM alert_episodes") == [
        (count + len(range(0, count, 3)),) * 2
    ]
