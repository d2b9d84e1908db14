"""Booking on a real PostgreSQL: any batching, repetition, interleaving and rollback gives the same books."""

import contextlib
import random
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import accounts, ledger
from billing.usage import Arrival, Booked, book
from schemas.errors import TopicRecreated
from schemas.models import AnomalyUsage, Position, ScoredUsage
from tests.billing.reference import Month
from tests.stack.database import Database, migrate
from tests.stack.fixtures import fresh_database
from tests.stack.providers import Server

Connection = psycopg.Connection[Any]
HOUR_MS = 3_600_000
BEGAN = datetime(2026, 3, 2, 10, 37, tzinfo=UTC)
BEGAN_MS = int(BEGAN.timestamp() * 1000)
START = BEGAN_MS - BEGAN_MS % HOUR_MS
NOW = START + 40 * 24 * HOUR_MS


class Crash(Exception):
    """The process dies before the commit."""


@pytest.fixture(scope="module")
def books(postgres: Server) -> Iterator[tuple[Database, Connection, Connection]]:
    """A database, a connection of the owner and one of the sink; organizations keep examples apart."""
    with fresh_database(postgres) as empty:
        database = migrate(postgres, empty.name)
        with (
            psycopg.connect(database.url(), autocommit=True) as owner,
            psycopg.connect(database.url("driftlock_sink"), autocommit=True) as sink,
        ):
            owner.execute("INSERT INTO source_topics VALUES ('blocks', 'B', now())")
            yield database, owner, sink


def organization(owner: Connection, began_at: datetime = BEGAN, plan: str = "standard") -> uuid.UUID:
    made = uuid.uuid4()
    accounts.seed(
        owner, made, name="x", customer_id=f"cus_{made}", subscription_id=f"sub_{made}", plan=plan, began_at=began_at
    )
    return made


def anomaly(o: uuid.UUID, frame: int, at: int, **other: Any) -> AnomalyUsage:
    position = Position(topic_id=other.pop("topic_id", "B"), partition=other.pop("partition", 0), frame=frame, event=0)
    values = {
        "usage_id": uuid.uuid5(o, f"{frame}"),
        "organization_id": o,
        "stream": "app",
        "is_anomaly": True,
        "count": 1,
        "calibrated": True,
        "occurred_at": at,
        "position": position,
        "detector_version": "1",
    }
    return AnomalyUsage.model_validate(values | other)


def scored(o: uuid.UUID, frame: int, at: int, count: int, opened: dict[str, int] | None = None) -> ScoredUsage:
    return ScoredUsage(
        usage_id=uuid.uuid5(o, f"scored {frame}"),
        organization_id=o,
        is_anomaly=False,
        count=count,
        duplicates=1,
        opened=opened or {},
        occurred_at=at,
        position=Position(topic_id="B", partition=0, frame=frame, event=0),
    )


def arrive(records: Sequence[AnomalyUsage | ScoredUsage], later: int = 1_000) -> list[Arrival]:
    return [Arrival(r, "U", 0, i, r.occurred_at + later) for i, r in enumerate(records)]


def write(sink: Connection, records: Sequence[AnomalyUsage | ScoredUsage], later: int = 1_000) -> Booked:
    with sink.transaction():
        return book(sink, arrive(records, later), now=NOW)


def entries(owner: Connection, o: uuid.UUID, columns: str) -> list[tuple[Any, ...]]:
    return owner.execute(f"SELECT {columns} FROM ledger WHERE organization_id = %s ORDER BY seq", (o,)).fetchall()


RECORD = st.tuples(
    st.integers(0, 2),
    st.integers(0, 1),
    st.booleans(),
    st.booleans(),
    st.integers(1, 10_000),
    st.integers(0, 50 * 3600),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(RECORD, min_size=1, max_size=40), seed=st.integers(0, 2**32))
def test_any_delivery_gives_the_same_books(
    books: tuple[Database, Connection, Connection],
    records: list[tuple[int, int, bool, bool, int, int]],
    seed: int,
) -> None:
    _, owner, sink = books
    rng = random.Random(seed)
    organizations = [organization(owner) for _ in range(3)]
    queues: list[list[AnomalyUsage | ScoredUsage]] = [[], [], []]
    truth: Counter[tuple[uuid.UUID, str]] = Counter()
    months = [(Month.of("developer"), Month.of("standard")) for _ in range(3)]
    hours: Counter[tuple[uuid.UUID, int]] = Counter()
    for frame, (who, stream, is_anomaly, calibrated, count, seconds) in enumerate(records):
        o, at = organizations[who], START + seconds * 1000
        if is_anomaly:
            queues[who].append(anomaly(o, frame, at, stream=f"s{stream}", calibrated=calibrated, count=count))
            # The hour in which the subscription began belongs to the free plan: counted, and never sent.
            paid = at >= START + HOUR_MS
            parts = months[who][paid].use(count) if calibrated else {"warmup": count}
            for name, units in parts.items():
                truth[o, name] += units
            if calibrated and paid:
                hours[o, at - at % HOUR_MS] += parts["billable"]
        else:
            queues[who].append(scored(o, frame, at, count, {"7": 1, "80": 2}))
            truth[o, "scored"] += count
    sent: list[AnomalyUsage | ScoredUsage] = []
    at_of = [0, 0, 0]
    while any(at_of[i] < len(queues[i]) for i in range(3)):
        who = rng.choice([i for i in range(3) if at_of[i] < len(queues[i])])
        if rng.random() < 0.1:  # a worker died, and says some of it again
            at_of[who] = rng.randint(0, at_of[who])
        sent.append(queues[who][at_of[who]])
        at_of[who] += 1
    i, seen = 0, 0
    while i < len(sent):
        batch = sent[i : i + rng.randint(1, 12)]
        if rng.random() < 0.3:
            with contextlib.suppress(Crash), sink.transaction():
                book(sink, arrive(batch), now=NOW)
                raise Crash
        fates = write(sink, batch).fates
        assert "rejected" not in fates
        seen += len(fates) - fates.count("duplicate")
        i += len(batch)
    assert seen == len(records)
    for o in organizations:
        assert ledger.verify(owner, o) is None
        sums = owner.execute(
            "SELECT coalesce(sum(billable), 0), coalesce(sum(waived), 0), coalesce(sum(capped), 0),"
            " coalesce(sum(free_withheld), 0), coalesce(sum(warmup), 0), coalesce(sum(scored_events), 0),"
            " coalesce(sum(entries), 0) FROM usage_counters WHERE organization_id = %s",
            (o,),
        ).fetchone()
        booked = Counter(dict(entries_by_disposition(owner, o)))
        assert sums is not None
        names = ("billable", "waived", "capped", "free_withheld", "warmup")
        assert sums[:6] == (*(truth[o, name] for name in names), truth[o, "scored"])
        assert tuple(booked[name] for name in names) == sums[:5]
        assert sums[6] == len(entries(owner, o, "seq"))
        found = owner.execute(
            "SELECT (extract(epoch FROM hour) * 1000)::bigint, units FROM meter_hours WHERE organization_id = %s", (o,)
        ).fetchall()
        assert dict(found) == {hour: n for (of, hour), n in hours.items() if of == o and n}


def entries_by_disposition(owner: Connection, o: uuid.UUID) -> list[tuple[str, int]]:
    return owner.execute(
        "SELECT disposition, sum(units) FROM ledger WHERE organization_id = %s GROUP BY 1", (o,)
    ).fetchall()


def test_what_is_not_an_anomaly_never_makes_an_entry(books: tuple[Database, Connection, Connection]) -> None:
    _, owner, sink = books
    o = organization(owner)
    for part in range(5):
        records = [
            scored(o, part * 2_000 + i, START + HOUR_MS + i, 1_000_000, {"6": 3, "500": 1}) for i in range(2_000)
        ]
        assert set(write(sink, records).fates) == {"not_anomaly"}
        assert set(write(sink, records).fates) == {"duplicate"}
    assert entries(owner, o, "*") == []
    assert owner.execute("SELECT count(*) FROM meter_hours WHERE organization_id = %s", (o,)).fetchone() == (0,)
    (row,) = owner.execute(
        "SELECT scored_events, duplicate_events, opened[7], opened[64], billable FROM usage_counters"
        " WHERE organization_id = %s AND scored_events > 0",
        (o,),
    ).fetchall()
    assert row == (10_000_000_000, 10_000, 30_000, 10_000, 0)


@pytest.mark.parametrize("began", [(10, 0, 0), (10, 37, 0), (10, 59, 59)])
def test_a_unit_belongs_to_the_plan_at_the_start_of_its_hour(
    books: tuple[Database, Connection, Connection], began: tuple[int, int, int]
) -> None:
    _, owner, sink = books
    at = datetime(2026, 3, 2, *began, tzinfo=UTC)
    o = organization(owner, at)
    ms = int(at.timestamp() * 1000)
    write(sink, [anomaly(o, 0, ms), anomaly(o, 1, ms - ms % HOUR_MS + HOUR_MS)])
    first = "standard" if began == (10, 0, 0) else "developer"
    assert entries(owner, o, "plan") == [(first,), ("standard",)]
    sent = owner.execute("SELECT sum(units) FROM meter_hours WHERE organization_id = %s", (o,)).fetchone()
    assert sent == ((2,) if first == "standard" else (1,))


def test_an_unknown_id_behind_what_was_billed_is_rescored(books: tuple[Database, Connection, Connection]) -> None:
    _, owner, sink = books
    o = organization(owner)
    at = START + 2 * HOUR_MS
    write(sink, [anomaly(o, 5, at)])
    upgraded = [anomaly(o, frame, at, usage_id=uuid.uuid4(), detector_version="2", count=9) for frame in (3, 5, 6)] + [
        anomaly(o, 4, at, stream="other")
    ]
    done = write(sink, upgraded)
    assert done.fates == ("written",) * 4
    assert [e.frame for e in done.rescored] == [3, 5]
    assert entries(owner, o, "frame, disposition, units, count") == [
        (5, "billable", 1, 1), (3, "rescored", 0, 9), (5, "rescored", 0, 9), (6, "billable", 9, 9), (4, "billable", 1, 1),
    ]  # fmt: skip
    assert owner.execute("SELECT units, version FROM meter_hours WHERE organization_id = %s", (o,)).fetchall() == [
        (11, 2)
    ]


def test_the_period_rolls_on_and_late_usage_goes_to_the_hour_of_its_arrival(
    books: tuple[Database, Connection, Connection],
) -> None:
    _, owner, sink = books
    o = organization(owner)
    end = int(datetime(2026, 4, 2, 10, 37, tzinfo=UTC).timestamp() * 1000)
    grace = 48 * HOUR_MS
    write(sink, [anomaly(o, 0, end - 1)], later=grace)
    write(sink, [anomaly(o, 1, end - 1)], later=grace + 1)
    write(sink, [anomaly(o, 2, end + 65 * 24 * HOUR_MS)])
    # The unit of 10:36:59.999 lies in the hour that began at 10:00, before the period's end.
    assert entries(owner, o, "late, period_start, meter_hour") == [
        (False, BEGAN, datetime(2026, 4, 2, 10, tzinfo=UTC)),
        (True, BEGAN.replace(month=4), datetime(2026, 4, 4, 10, tzinfo=UTC)),
        (False, BEGAN.replace(month=6), datetime(2026, 6, 6, 10, tzinfo=UTC)),
    ]
    assert owner.execute("SELECT count(*) FROM billing_periods WHERE organization_id = %s", (o,)).fetchone() == (5,)


def test_free_periods_return_to_the_day_that_a_short_month_clamped(
    books: tuple[Database, Connection, Connection],
) -> None:
    _, owner, sink = books
    o = uuid.uuid4()
    accounts.create_organization(owner, o, "x", datetime(2026, 1, 31, 10, tzinfo=UTC))
    for number, (month, day) in enumerate([(2, 28), (3, 30), (4, 30), (5, 30), (6, 1)]):
        # Each in a batch of its own, which loads the periods anew.
        write(sink, [anomaly(o, number, int(datetime(2026, month, day, 12, tzinfo=UTC).timestamp() * 1000))])
    rows = owner.execute(
        "SELECT starts_at AT TIME ZONE 'UTC' FROM billing_periods WHERE organization_id = %s ORDER BY starts_at", (o,)
    ).fetchall()
    assert [(at.month, at.day) for (at,) in rows] == [(1, 31), (2, 28), (3, 31), (4, 30), (5, 31)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"occurred_at": -1}, "occurred_at"),
        ({"occurred_at": 10**17}, "occurred_at"),
        ({"position": Position(topic_id="B", partition=0, frame=-1, event=0)}, "position"),
        ({"position": Position(topic_id="B", partition=2**40, frame=1, event=0)}, "position"),
        ({"position": Position(topic_id="B", partition=7, frame=9, event=0)}, "was in partition 0"),
        ({"stream": "a\0b"}, "NUL"),
        ({"organization_id": uuid.UUID(int=5)}, "no billing period"),
        ({"occurred_at": START - 1}, "no billing period"),
    ],
)
def test_what_can_not_be_booked_comes_back_with_a_reason(
    books: tuple[Database, Connection, Connection], change: dict[str, Any], said: str
) -> None:
    _, owner, sink = books
    o = organization(owner)
    good = [anomaly(o, 0, START + HOUR_MS), anomaly(o, 9, START + HOUR_MS)]
    bad = good[0].model_copy(update={"usage_id": uuid.uuid4(), **change})
    arrivals = [Arrival(r, "U", 0, i, START + 2 * HOUR_MS) for i, r in enumerate((good[0], bad, good[1]))]
    with sink.transaction():
        done = book(sink, arrivals, now=NOW)
    assert done.fates == ("written", "rejected", "written")
    assert said in done.reasons[1]
    assert len(entries(owner, o, "seq")) == 2


def test_another_blocks_topic_stops(books: tuple[Database, Connection, Connection]) -> None:
    _, owner, sink = books
    o = organization(owner)
    with pytest.raises(TopicRecreated, match="driftlock sink accept blocks"):
        write(sink, [anomaly(o, 0, START + HOUR_MS, topic_id="made-again")])
    assert entries(owner, o, "seq") == []


def test_verify_finds_what_a_superuser_changed(books: tuple[Database, Connection, Connection]) -> None:
    _, owner, sink = books
    for change, said in (
        ("UPDATE ledger SET units = 0 WHERE seq = 2 AND organization_id = %s", "entry 2 was changed"),
        ("DELETE FROM ledger WHERE seq = 2 AND organization_id = %s", "entries 2 to 2 were removed"),
        ("DELETE FROM ledger WHERE seq = 3 AND organization_id = %s", "entries 3 to 3 were removed"),
    ):
        o = organization(owner)
        write(sink, [anomaly(o, i, START + HOUR_MS + i, stream='quo"ted\\ {,}') for i in range(3)])
        assert ledger.verify(owner, o) is None
        with owner.transaction():
            owner.execute("SET LOCAL session_replication_role = replica")
            owner.execute(change.encode(), (o,))
        fault = ledger.verify(owner, o)
        assert fault is not None
        assert fault.what == said
