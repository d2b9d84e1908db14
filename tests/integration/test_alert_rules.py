"""Alerts by rules, as the anomalies sink writes them: once for each episode and rule, whatever is repeated or reordered."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any

import orjson
import psycopg
import pytest

from pipeline.sinks.anomalies import write
from pipeline.sinks.sink import Record
from schemas.models import Anomaly
from schemas.notices import KINDS
from tests.integration.api_world import anomaly
from tests.stack.database import Database

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)


@dataclass
class World:
    """Organizations with rules, and the sink that tells by them."""

    owner: psycopg.Connection[Any]
    sink: psycopg.Connection[Any]
    organizations: list[uuid.UUID] = field(default_factory=list)

    def organization(self) -> uuid.UUID:
        """One more."""
        self.organizations.append(uuid.uuid4())
        self.owner.execute(
            "INSERT INTO organizations (id, name, created_at) VALUES (%s, 'Acme', %s)", (self.organizations[-1], NOW)
        )
        return self.organizations[-1]

    def rule(self, o: uuid.UUID, **said: Any) -> uuid.UUID:
        """A rule of it; what is not said is the widest."""
        values = {
            "organization_id": o, "id": uuid.uuid4(), "name": "r", "enabled": True, "min_severity": "low",
            "stream_pattern": "*", "kinds": [], "updates": False, "recovery": False, "group_by": "stream",
            "cooldown_seconds": 0, "endpoint_ids": [], "created_at": NOW, "created_by": "test",
        } | said  # fmt: skip
        self.owner.execute(
            f"INSERT INTO alert_rules ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))})",
            list(values.values()),
        )
        return uuid.UUID(str(values["id"]))

    def write(self, *anomalies: Anomaly, at: datetime = NOW) -> None:
        """One batch of the sink."""
        with self.sink.transaction():
            records = [Record("t", 0, i, 0, None, a.to_bytes()) for i, a in enumerate(anomalies)]
            write(self.sink, records, round(at.timestamp() * 1000))

    def told(self, rule_id: uuid.UUID | None = None) -> list[tuple[str, str, int]]:
        """(type, anomaly, revision) of the outbox, in its order."""
        rows = self.owner.execute(
            "SELECT kind, payload FROM outbox WHERE %(rule)s::uuid IS NULL OR rule_id = %(rule)s"
            " ORDER BY created_at, kind, dedupe_key",
            {"rule": rule_id},
        ).fetchall()
        for kind, payload in rows:
            KINDS[kind].model_validate_json(orjson.dumps(payload))
        return [(kind, p["anomaly"]["id"], p["anomaly"]["revision"]) for kind, p in rows]

    def fates(self) -> list[str]:
        """What became of episodes, in their order."""
        rows = self.owner.execute("SELECT fate FROM alert_episodes ORDER BY at, anomaly_id").fetchall()
        return [fate for (fate,) in rows]


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    with (
        psycopg.connect(database.url(), autocommit=True) as owner,
        psycopg.connect(database.url("driftlock_sink"), autocommit=True) as sink,
    ):
        yield World(owner, sink)


def test_an_episode_is_told_once_by_each_rule_that_matches_it_and_by_no_others(world: World) -> None:
    o, other = world.organization(), world.organization()
    all_, high, web, rate, off, theirs = (
        world.rule(o), world.rule(o, min_severity="critical"), world.rule(o, stream_pattern="web*"),
        world.rule(o, kinds=["rate"]), world.rule(o, enabled=False), world.rule(other),
    )  # fmt: skip
    a, b = anomaly(o, 1, severity="critical", stream="db"), anomaly(o, 2, stream="web-1", kind="rate")
    world.write(a, b)
    world.write(b, a)
    said_a, said_b = ("anomaly.created", str(a.id), 1), ("anomaly.created", str(b.id), 1)
    assert world.told(all_) == [said_a, said_b]
    assert world.told(high) == [said_a]
    assert world.told(web) == world.told(rate) == [said_b]
    assert world.told(off) == world.told(theirs) == []


def test_revisions_and_the_end_are_told_where_a_rule_asks_whatever_the_batches(world: World) -> None:
    o = world.organization()
    quiet, all_ = world.rule(o), world.rule(o, updates=True, recovery=True)
    revisions = [anomaly(o, n, revision=r, open=r < 4) for n in range(6) for r in (1, 2, 3, 4)]
    rng = random.Random(1)
    for batch in (revisions[:9], revisions[4:13], revisions):
        world.write(*rng.sample(batch, len(batch)))
    world.write(*revisions)
    assert sorted(i for _, i, _ in world.told(quiet)) == sorted({str(a.id) for a in revisions})
    told = world.told(all_)
    assert len(told) == len(set(told))
    for n in range(6):
        mine = [(kind, revision) for kind, i, revision in told if i == str(uuid.UUID(int=n + 1))]
        assert [kind for kind, _ in mine].count("anomaly.created") == 1
        assert [kind for kind, _ in mine].count("anomaly.resolved") == 1
        assert ("anomaly.resolved", 4) in mine


def test_an_episode_that_grows_severe_is_told_when_it_does(world: World) -> None:
    o = world.organization()
    world.rule(o, min_severity="critical", updates=True)
    world.write(anomaly(o, 1, severity="low"))
    assert world.told() == []
    world.write(anomaly(o, 1, revision=2, severity="critical"))
    world.write(anomaly(o, 1, revision=3, severity="low"), at=NOW + timedelta(minutes=1))
    assert [(kind, revision) for kind, _, revision in world.told()] == [("anomaly.created", 2), ("anomaly.updated", 3)]


def test_a_muted_rule_keeps_an_episode_for_itself_for_good_but_ends_what_it_told(world: World) -> None:
    o = world.organization()
    rule = world.rule(o, updates=True, recovery=True)
    world.write(anomaly(o, 1))
    world.owner.execute("UPDATE alert_rules SET muted_until = %s", (NOW + timedelta(hours=1),))
    world.write(anomaly(o, 1, revision=2), anomaly(o, 2))
    world.write(anomaly(o, 1, revision=3, open=False), at=NOW + timedelta(minutes=1))
    later = NOW + timedelta(hours=2)
    world.write(anomaly(o, 2, revision=2), anomaly(o, 2, revision=3, open=False), anomaly(o, 3), at=later)
    first, third = str(uuid.UUID(int=2)), str(uuid.UUID(int=4))
    assert world.told(rule) == [
        ("anomaly.created", first, 1),
        ("anomaly.resolved", first, 3),
        ("anomaly.created", third, 1),
    ]
    assert world.fates() == ["told", "muted", "told"]


def test_a_group_is_told_once_a_cooldown_and_says_how_many_it_held_back(world: World) -> None:
    o = world.organization()
    world.rule(o, group_by="stream", cooldown_seconds=600, recovery=True)
    world.write(anomaly(o, 1), anomaly(o, 2), anomaly(o, 3, stream="db"))
    world.write(anomaly(o, 4), at=NOW + timedelta(seconds=599))
    world.write(anomaly(o, 2, revision=2, open=False), at=NOW + timedelta(seconds=599))
    world.write(anomaly(o, 5), at=NOW + timedelta(seconds=600))
    rows = world.owner.execute(
        "SELECT payload -> 'anomaly' ->> 'stream', payload -> 'held' FROM outbox ORDER BY created_at, 1"
    ).fetchall()
    assert rows == [("db", 0), ("web", 0), ("web", 2)]
    assert sorted(world.fates()) == ["cooldown", "cooldown", "told", "told", "told"]
    assert world.owner.execute("SELECT group_key, held FROM alert_groups ORDER BY 1").fetchall() == [
        ("db", 0),
        ("web", 0),
    ]


def test_quiet_hours_put_off_and_lose_nothing(world: World) -> None:
    o = world.organization()
    hours = {"quiet_from": time(22), "quiet_until": time(7), "quiet_zone": "Europe/Berlin", "quiet_below": "critical"}
    world.rule(o, **hours)
    night = datetime(2026, 3, 9, 23, tzinfo=UTC)
    world.write(anomaly(o, 1), anomaly(o, 2, severity="critical"), at=night)
    world.write(anomaly(o, 3), at=night + timedelta(hours=8))
    rows = world.owner.execute("SELECT due_at FROM outbox ORDER BY payload -> 'anomaly' ->> 'id'").fetchall()
    assert rows == [(datetime(2026, 3, 10, 6, tzinfo=UTC),), (None,), (None,)]


def test_what_is_undone_is_told_by_the_repetition(world: World) -> None:
    o = world.organization()
    world.rule(o, cooldown_seconds=60)
    records = [Record("t", 0, 0, 0, None, anomaly(o, 1).to_bytes())]
    with world.sink.transaction(force_rollback=True):
        write(world.sink, records, round(NOW.timestamp() * 1000))
    assert (world.told(), world.fates()) == ([], [])
    world.write(anomaly(o, 1))
    assert len(world.told()) == 1


def test_the_sink_changes_no_rule_and_no_fate(world: World) -> None:
    o = world.organization()
    world.rule(o)
    world.write(anomaly(o, 1))
    for query in (
        "UPDATE alert_rules SET enabled = false",
        "UPDATE alert_episodes SET fate = 'muted'",
        "DELETE FROM alert_episodes",
        "SELECT payload FROM outbox",
        "SELECT 1 FROM alert_endpoints",
        "SELECT 1 FROM alert_secrets",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            world.sink.execute(query.encode())
