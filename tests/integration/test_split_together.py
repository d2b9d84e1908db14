"""One organization on many partitions at once: the split stays exact, each alert comes once, and it can be made again."""

import random
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from billing.agreements import set_cap
from billing.credits import credit_false_positive, mark_false_positive
from billing.usage import Arrival, book
from schemas.models import AnomalyUsage, Position
from tests.billing.reference import Month
from tests.integration.books import FIRST, Books, ms, open_books
from tests.stack.providers import Server

PARTITIONS = 6


class Crash(Exception):
    """The process dies before the commit."""


@pytest.fixture(scope="module")
def books(postgres: Server) -> Iterator[Books]:
    with open_books(postgres) as opened:
        yield opened


def work(books: Books, o: uuid.UUID, partition: int, failed: list[BaseException]) -> None:
    """Book 15 batches of one partition, each tried again after a crash now and then; all of them said twice."""
    rng = random.Random(partition)
    try:
        with psycopg.connect(books.database.url("driftlock_sink"), autocommit=True) as sink:
            for batch in range(15):
                records = [
                    Arrival(record(o, partition, batch * 10 + i, rng.randint(1, 180)), "U", partition, i, ms(FIRST))
                    for i in range(10)
                ]
                for attempt in range(2):
                    try:
                        with sink.transaction():
                            book(sink, records, now=ms(FIRST))
                            if attempt == 0 and rng.random() < 0.3:
                                raise Crash  # noqa: TRY301 in the transaction is where it must be
                    except Crash:
                        continue
    except BaseException as error:  # noqa: BLE001 a thread's error is the test's
        failed.append(error)


def record(o: uuid.UUID, partition: int, frame: int, count: int) -> AnomalyUsage:
    return AnomalyUsage(
        usage_id=uuid.uuid5(o, f"{partition}/{frame}"),
        organization_id=o,
        stream=f"s{partition}",
        is_anomaly=True,
        count=count,
        calibrated=True,
        occurred_at=ms(FIRST),
        position=Position(topic_id="B", partition=partition, frame=frame, event=0),
        detector_version="1",
    )


def test_one_organization_on_six_partitions_is_split_as_if_on_one(books: Books) -> None:
    o = books.subscribed()
    failed: list[BaseException] = []
    threads = [threading.Thread(target=work, args=(books, o, p, failed)) for p in range(PARTITIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failed == []
    entries = books.entries(o, "usage_id, part, disposition, units, count")
    assert len({usage for usage, *_ in entries}) == PARTITIONS * 150
    month, at = Month.of("standard"), 0
    while at < len(entries):
        usage, count = entries[at][0], entries[at][4]
        parts = [e for e in entries[at : at + 3] if e[0] == usage]
        booked: dict[str, int] = {}
        for _, _, disposition, units, _ in parts:
            booked[disposition] = booked.get(disposition, 0) + units
        assert booked == {name: units for name, units in month.use(count).items() if units}
        at += len(parts)
    assert books.sums(o)["billable"] == 60_000
    assert books.hours(o) == {FIRST: 60_000}
    rungs = [(kind, threshold) for kind, threshold, _ in books.alerts(o)]
    assert len(set(rungs)) == len(rungs)
    assert {("percent", 70), ("percent", 90), ("percent", 100), ("overage", 50_000), ("cap", 60_000)} <= set(rungs)
    keys = books.owner.execute("SELECT dedupe_key FROM outbox WHERE organization_id = %s", (o,)).fetchall()
    assert len(keys) == 1 + sum(told for _, _, told in books.alerts(o))  # and the plan that changed
    books.sound(o)


def test_the_books_made_again_are_split_the_same_whenever_credits_and_caps_were_set(books: Books) -> None:
    first, again = books.subscribed(), books.subscribed()
    records = [books.record(first, FIRST + timedelta(hours=h), 9_000) for h in range(12)]
    caps = {3: ("soft", 110), 6: ("allow", None), 9: ("block", 130)}
    for hour, made in enumerate(records):
        if hour in caps:
            mode, percent = caps[hour]
            set_cap(books.jobs, first, mode, percent, by="u", at=FIRST + timedelta(hours=hour))  # type: ignore[arg-type]
        books.write([made])
        mark_false_positive(books.jobs, first, made.usage_id, by="u", note="", at=FIRST + timedelta(hours=hour))
        credit_false_positive(
            books.jobs, first, made.usage_id, by="u", at=FIRST + timedelta(hours=hour), limit_percent=10
        )
    # From Kafka, after a restore: the settings are there from the start, the credits are not, the batches are others.
    for hour, (mode, percent) in caps.items():
        set_cap(books.jobs, again, mode, percent, by="u", at=FIRST + timedelta(hours=hour))  # type: ignore[arg-type]
    said = [made.model_copy(update={"organization_id": again}) for made in records]
    for i in range(0, len(said), 5):
        books.write(said[i : i + 5])
    columns = "usage_id, part, disposition, units, meter_hour, period_start"
    usage = [
        row
        for row, (kind,) in zip(books.entries(first, columns), books.entries(first, "kind"), strict=True)
        if kind == "usage"
    ]
    assert books.entries(again, columns) == usage
    assert {row[2] for row in usage} == {"billable", "capped"}
    books.sound(first)
    books.sound(again)
