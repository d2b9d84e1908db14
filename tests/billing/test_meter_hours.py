"""Whatever happens between us and Stripe, its summary ends up equal to the ledger, value by hour."""

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing import meter_hours as protocol
from billing.meter_hours import Hour, Outcome
from pipeline.embedded.stripe_fake.usage import MeterEvent, Usage

METER = "mtr_test_61Q8nQMqIFK9fRQmr41CMAXJrFdZ5MnA"  # pragma: allowlist secret
CUSTOMER = "cus_Q8nQMqIFK9fRQm"
BEGAN = datetime(2026, 11, 23, 10, tzinfo=UTC)
RNG = random.Random(1)

Fault = Literal[
    "none", "drop", "drop_applied", "drop_late", "error_applied", "busy", "crash_before", "crash_after", "crash_late"
]
FAULTS: tuple[Fault, ...] = (
    "none",
    "drop",
    "drop_applied",
    "drop_late",
    "error_applied",
    "busy",
    "crash_before",
    "crash_after",
    "crash_late",
)


def an_hour(**changes: object) -> Hour:
    return replace(Hour(UUID(int=1), CUSTOMER, BEGAN, units=5, version=1), **changes)  # type: ignore[arg-type]


@dataclass
class World:
    """A database of hours, a Stripe, and one clock."""

    usage: Usage
    now: datetime = BEGAN + timedelta(hours=4)
    rows: dict[datetime, Hour] = field(default_factory=dict)
    requests: int = 0

    def seconds(self) -> int:
        return int(self.now.timestamp())

    def pass_time(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.usage.catch_up(self.seconds())

    def change(self, place: int, units: int) -> None:
        """The sink: another total, another version."""
        at = BEGAN + timedelta(hours=place)
        row = self.rows.get(at)
        self.rows[at] = (
            an_hour(hour=at, units=units) if row is None else replace(row, units=units, version=row.version + 1)
        )

    def send(self, fault: Fault, late: int) -> None:
        """One pass of the sender; the fault strikes its first request."""
        for at in sorted(self.rows):
            row = self.rows[at]
            if not protocol.is_due(row, self.now):
                continue
            if protocol.needs_no_request(row):
                self.rows[at] = protocol.without_request(row, self.now)
                continue
            noted = protocol.before_send(row, METER, 1, self.now)
            self.rows[at] = noted
            if fault == "crash_before":
                return
            outcome = self.request(noted, fault, late)
            if fault in ("crash_after", "crash_late"):
                return
            self.rows[at] = protocol.after_send(row, noted, outcome, "said", self.now, RNG)
            if outcome in ("unanswered", "busy"):
                return
            fault = "none"

    def request(self, noted: Hour, fault: Fault, late: int) -> Outcome:
        self.requests += 1
        event = MeterEvent(
            METER,
            noted.customer_id,
            noted.sent_identifier or "",
            protocol.timestamp(noted),
            noted.units,
            width=3600,
            overwrite=True,
        )
        if fault == "busy":
            return "busy"
        if fault == "drop":
            return "unanswered"
        if fault in ("drop_late", "crash_late"):
            if not self.usage.known(event.identifier, self.seconds()):
                self.usage.apply_later(event, self.seconds() + late)
            return "unanswered"
        applied = self.usage.apply(event, self.seconds())
        if fault in ("drop_applied", "error_applied"):
            return "unanswered"
        return "accepted" if applied else "exists"

    def read(self) -> None:
        for at, row in self.rows.items():
            if protocol.is_unread(row, self.now):
                self.rows[at] = protocol.after_read(row, self.shown().get(at, 0), self.now)

    def shown(self) -> dict[datetime, int]:
        hours = self.usage.shown(METER, CUSTOMER, 0, 1 << 60, self.seconds(), overwrite=True)
        return {datetime.fromtimestamp(at, UTC): units for at, units in hours.items()}

    def reconcile(self) -> None:
        shown = self.shown()
        for at, row in self.rows.items():
            certain = row.state in ("sent", "confirmed") and row.sent_version == row.version
            if certain and shown.get(at, 0) != row.units:
                self.rows[at] = replace(row, state="unconfirmed", agreed_at=None, next_attempt_at=self.now)

    def settled(self) -> bool:
        return all(row.sent_version == row.version and row.state in ("sent", "confirmed") for row in self.rows.values())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.integers(0, 1), st.integers(0, 9)),
        st.tuples(st.just("send"), st.sampled_from(FAULTS), st.integers(0, 600)),
        st.tuples(st.just("time"), st.sampled_from((1, 30, 90, 600, 4000)), st.just(0)),
        st.tuples(st.just("read"), st.just(0), st.just(0)),
    ),
    min_size=8,
    max_size=40,
)


def play(world: World, steps: list[tuple[str, object, int]], *, slower: int = 1) -> None:
    for kind, a, b in steps:
        if kind == "change":
            assert isinstance(a, int)
            world.change(a, b)
        elif kind == "send":
            world.send(a, b * slower)  # type: ignore[arg-type]
        elif kind == "time":
            assert isinstance(a, int)
            world.pass_time(a)
        else:
            world.read()


def assert_equal(world: World) -> None:
    shown = world.shown()
    assert {at: row.units for at, row in world.rows.items() if row.units} == {at: n for at, n in shown.items() if n}


@pytest.mark.parametrize("newest_by", ["arrival", "timestamp"])
@settings(max_examples=300, deadline=None)
@given(steps=STEPS, lag=st.integers(0, 60))
def test_the_summary_equals_the_ledger_once_every_hour_is_sent_or_confirmed(
    newest_by: Literal["arrival", "timestamp"], steps: list[tuple[str, object, int]], lag: int
) -> None:
    world = World(Usage(newest_by=newest_by, lag=lag))
    play(world, steps)
    for _ in range(400):
        if world.settled():
            break
        world.send("none", 0)
        world.read()
        world.pass_time(60)
    assert world.settled()
    world.pass_time(lag + 3600)  # whatever was on its way has landed
    assert_equal(world)


@pytest.mark.parametrize("newest_by", ["arrival", "timestamp"])
@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_requests_that_land_hours_late_are_found_by_reconciling(
    newest_by: Literal["arrival", "timestamp"], steps: list[tuple[str, object, int]]
) -> None:
    world = World(Usage(newest_by=newest_by))
    play(world, steps, slower=180)  # up to 30 hours
    for _ in range(36 * 4):
        world.send("none", 0)
        world.read()
        world.pass_time(15 * 60)
        world.reconcile()
    for _ in range(4):
        world.send("none", 0)
        world.read()
        world.pass_time(15 * 60)
    assert world.settled()
    assert_equal(world)


def test_an_undisturbed_hour_is_one_request() -> None:
    world = World(Usage())
    world.change(0, 5)
    world.change(0, 7)
    for _ in range(10):
        world.send("none", 0)
        world.read()
        world.pass_time(600)
    assert world.requests == 1
    assert world.rows[BEGAN].state == "sent"
    assert_equal(world)


def test_an_hour_without_billable_units_is_never_sent() -> None:
    world = World(Usage())
    world.change(0, 0)
    world.send("none", 0)
    assert (world.requests, world.rows[BEGAN].state) == (0, "sent")


def test_an_older_request_that_lands_after_a_newer_one_is_overwritten() -> None:
    world = World(Usage())
    world.change(0, 5)
    world.send("drop_late", 300)
    world.change(0, 7)
    world.pass_time(20)
    world.send("none", 0)
    assert world.shown() == {BEGAN: 7}
    world.pass_time(300)
    assert world.shown() == {BEGAN: 5}  # the harm is done
    for _ in range(4):
        world.read()
        world.send("none", 0)
        world.pass_time(600)
    world.read()
    assert world.shown() == {BEGAN: 7}
    assert world.rows[BEGAN].state == "confirmed"


def test_a_known_identifier_is_a_success_only_for_the_total_that_was_noted() -> None:
    row = an_hour()
    noted = protocol.before_send(row, METER, 1, BEGAN)
    unknown = protocol.after_send(row, noted, "exists", "said", BEGAN, RNG)
    assert (unknown.version, unknown.sent_version, unknown.state) == (2, 0, "unconfirmed")

    again = protocol.before_send(noted, METER, 1, BEGAN)
    known = protocol.after_send(noted, again, "exists", "said", BEGAN, RNG)
    assert (known.version, known.sent_version, known.state) == (1, 1, "unconfirmed")

    changed = replace(noted, units=6)
    other = protocol.after_send(changed, protocol.before_send(changed, METER, 1, BEGAN), "exists", "said", BEGAN, RNG)
    assert (other.version, other.sent_version) == (2, 0)


def test_two_reads_ten_minutes_apart_confirm_an_hour() -> None:
    row = an_hour(state="unconfirmed", sent_version=1, sent_units=5, sent_at=BEGAN)
    first = protocol.after_read(row, 5, BEGAN)
    assert (first.state, first.agreed_at) == ("unconfirmed", BEGAN)
    early = protocol.after_read(first, 5, BEGAN + timedelta(minutes=9, seconds=59))
    assert early.state == "unconfirmed"
    assert protocol.after_read(early, 5, BEGAN + timedelta(minutes=10)).state == "confirmed"


def test_a_summary_that_lags_is_no_difference_until_ten_minutes_after_sending() -> None:
    row = an_hour(state="unconfirmed", sent_version=1, sent_units=5, sent_at=BEGAN)
    assert protocol.after_read(row, 0, BEGAN + timedelta(minutes=9)).version == 1
    assert protocol.after_read(row, 0, BEGAN + timedelta(minutes=10)).version == 2


def test_the_newest_version_is_never_older_by_its_timestamp() -> None:
    stamps = [protocol.timestamp(an_hour(version=v)) for v in range(1, 200)]
    assert stamps == sorted(stamps)
    assert max(stamps) < BEGAN.timestamp() + 60


def test_identifiers_are_unique_and_short_enough() -> None:
    row = an_hour()
    made = {protocol.identifier(row, METER, epoch, v) for epoch in range(1, 4) for v in range(50)}
    assert len(made) == 150
    assert protocol.identifier(row, METER, 999, 10**12).count(":") == 3
    assert len(protocol.identifier(row, METER, 999, 10**12)) <= 100
    with pytest.raises(ValueError, match="100"):
        protocol.identifier(an_hour(customer_id="c" * 80), METER, 1, 1)


@given(attempts=st.integers(1, 10_000), seed=st.integers())
def test_back_off_grows_to_fifteen_minutes_and_is_never_nothing(attempts: int, seed: int) -> None:
    waits = protocol.backoff(attempts, random.Random(seed)).total_seconds()
    most = min(900.0, 2.0 ** min(attempts, 30))
    assert most / 2 <= waits <= most


def test_an_hour_that_is_not_over_or_frozen_is_not_sent() -> None:
    assert not protocol.is_due(an_hour(), BEGAN + timedelta(minutes=59, seconds=59))
    assert protocol.is_due(an_hour(), BEGAN + timedelta(hours=1))
    assert not protocol.is_due(an_hour(state="frozen"), BEGAN + timedelta(hours=2))
