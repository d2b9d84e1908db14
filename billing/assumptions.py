"""What Stripe does that money rests on (README.md), tried against a sandbox: each behaviour holds, differs, or was not tried.

Makes a meter, prices and customers of its own, one of them on a test clock, and removes them again. Test mode only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from billing import stripe_gateway as gateway
from billing import stripe_orders as orders
from billing.meter_hours import BETWEEN_READS
from billing.stripe_gateway import Connection, Meter, named
from billing.stripe_objects import read_subscription

Verdict = Literal["holds", "differs", "not tried"]
HOUR, DAY, MINUTE = 3600, 86_400, 60
POLL_SECONDS = 15
LAG_SECONDS = int(BETWEEN_READS.total_seconds())
RATE = Decimal("0.1")
INCLUDED = 50_000


@dataclass(frozen=True)
class Ground:
    """Where it is tried: a meter and a customer of its own. `now` in s; `pause` waits so many seconds."""

    at: Connection
    meter: Meter
    customer: str
    now: Callable[[], int]
    pause: Callable[[int], None]
    suffix: str
    sent: list[str] = field(default_factory=list)

    def send(self, units: int, timestamp: int, *, customer: str = "", identifier: str = "") -> None:
        """Send a total, under a new identifier unless one is given."""
        self.sent.append(identifier or f"{self.suffix}:{len(self.sent)}")
        gateway.send_meter_event(self.at, self.meter, customer or self.customer, units, timestamp, self.sent[-1])

    def hour(self, back: int) -> int:
        """The start of the UTC hour so many hours before the present one."""
        return self.now() - self.now() % HOUR - back * HOUR

    def shown(self, start: int, hours: int = 1) -> dict[int, int]:
        """Stripe's summaries from an hour on."""
        return gateway.read_hours(self.at, self.meter, self.customer, start, start + hours * HOUR)

    def settles(self, start: int, units: int) -> tuple[bool, int, int]:
        """Whether an hour's summary becomes `units` within ten minutes; what it shows then; the seconds that it took."""
        begun = self.now()
        while (found := self.shown(start).get(start, 0)) != units and self.now() - begun < LAG_SECONDS:
            self.pause(POLL_SECONDS)
        return found == units, found, self.now() - begun


@dataclass(frozen=True)
class Found:
    """What became of an assumption."""

    name: str
    assumed: str
    verdict: Verdict
    seen: str


Try = Callable[[Ground], tuple[Verdict, str]]


def _verdict(holds: bool, seen: str) -> tuple[Verdict, str]:
    return ("holds" if holds else "differs"), seen


def _overwrites(ground: Ground) -> tuple[Verdict, str]:
    start = ground.hour(2)
    ground.send(5, start + 1)
    ground.send(7, start + 2)
    done, shown, took = ground.settles(start, 7)
    return _verdict(done and took <= LAG_SECONDS, f"5 then 7 shows {shown} after {took} s")


def _most_recent(ground: Ground) -> tuple[Verdict, str]:
    start = ground.hour(3)
    ground.send(5, start + 30)
    ground.send(7, start + 10)
    done, shown, _ = ground.settles(start, 7)
    meant = "arrival" if done else "timestamp" if shown == 5 else "neither"
    return _verdict(meant != "neither", f"most recent goes by {meant} ({shown})")


def _equal_timestamps(ground: Ground) -> tuple[Verdict, str]:
    start = ground.hour(4)
    ground.send(5, start + 59)
    ground.send(7, start + 59)
    done, shown, _ = ground.settles(start, 7)
    return _verdict(done, f"equal timestamps: 5 then 7 shows {shown}")


def _utc_hours(ground: Ground) -> tuple[Verdict, str]:
    start = ground.hour(7)
    ground.send(3, start + HOUR - 1)
    ground.send(4, start + HOUR)
    done, _, _ = ground.settles(start + HOUR, 4)
    shown = ground.shown(start, 2)
    return _verdict(done and shown == {start: 3, start + HOUR: 4}, f"59:59 and 00:00 show {sorted(shown.values())}")


def _lowered(ground: Ground) -> tuple[Verdict, str]:
    start = ground.hour(8)
    ground.send(5, start + 1)
    if not ground.settles(start, 5)[0]:
        return "not tried", "the first total never showed"
    ground.send(0, start + 2)
    done, shown, _ = ground.settles(start, 0)
    return _verdict(done, f"5 lowered to 0 shows {shown}")


def _identifier(ground: Ground) -> tuple[Verdict, str]:
    name = f"{ground.suffix}:same"
    ground.send(5, ground.hour(9) + 1, identifier=name)
    try:
        ground.send(6, ground.hour(9) + 2, identifier=name)
    except gateway.StripeExists as error:
        return "holds", str(error)
    except gateway.StripeRefused as error:
        return "differs", f"refused with another text: {error}"
    return "differs", "a used identifier was taken again"


def _window(ground: Ground) -> tuple[Verdict, str]:
    taken = {}
    for name, offset in (("34 days back", -34 * DAY), ("36 days back", -36 * DAY), ("10 minutes ahead", 10 * MINUTE)):
        try:
            ground.send(1, ground.now() + offset)
            taken[name] = True
        except gateway.StripeRefused:
            taken[name] = False
    seen = ", ".join(f"{name} {'taken' if ok else 'refused'}" for name, ok in taken.items())
    return _verdict(list(taken.values()) == [True, False, False], seen)


def _stranger(ground: Ground) -> tuple[Verdict, str]:
    try:
        ground.send(1, ground.hour(2), customer="cus_nobody")
    except gateway.StripeRefused as error:
        return "holds", f"refused at once: {error}"
    return "holds", "taken: a rejection must come later, as an event"


def _idempotency(ground: Ground) -> tuple[Verdict, str]:
    key = {"idempotency_key": f"{ground.suffix}:customer"}
    with named():
        ids = {ground.at.client.v1.customers.create({"name": "Assumption"}, key).id for _ in range(2)}  # type: ignore[arg-type]
        for made in ids:
            ground.at.client.v1.customers.delete(made)
    return _verdict(len(ids) == 1, f"the same key twice made {len(ids)}")


@dataclass(frozen=True)
class Clocked:
    """A customer on a test clock with a metered subscription that began at the clock's time."""

    ground: Ground
    clock: str
    subscription: str
    began: int


def _on_a_clock(ground: Ground, before: int = 0) -> Clocked:
    """`before`: units of the hour before the subscription begins."""
    with named():
        clock = ground.at.client.v1.test_helpers.test_clocks.create({"frozen_time": ground.now()})
        customer = ground.at.client.v1.customers.create({"name": "Assumption", "test_clock": clock.id})
    of = Ground(ground.at, ground.meter, customer.id, ground.now, ground.pause, f"{ground.suffix}:{clock.id}")
    if before:
        of.send(before, of.hour(1) + 1)
    product = gateway.ensure_product(ground.at, f"assumption-{ground.suffix}", "Assumption")
    tiers = [(INCLUDED, Decimal(0)), (None, RATE)]
    flat = gateway.ensure_flat_price(ground.at, product, f"assumption-{ground.suffix}-flat", 4900)
    metered = gateway.ensure_metered_price(ground.at, product, f"assumption-{ground.suffix}", ground.meter, tiers)
    made = orders.ensure_subscription(ground.at, customer.id, (flat, metered))
    return Clocked(of, clock.id, made.id, made.period_start)


def _advance(clocked: Clocked, to: int) -> None:
    with named():
        clocked.ground.at.client.v1.test_helpers.test_clocks.advance(clocked.clock, {"frozen_time": to})
        for _ in range(60):
            if clocked.ground.at.client.v1.test_helpers.test_clocks.retrieve(clocked.clock).status == "ready":
                return
            clocked.ground.pause(5)
    raise gateway.StripeUnanswered("the test clock was not ready after five minutes")


def _use(clocked: Clocked, units: int) -> str:
    """Send units of the first whole hour of the subscription; why that can't be done at the clock's time, or nothing."""
    start = clocked.began - clocked.began % HOUR + HOUR
    _advance(clocked, start + MINUTE)
    try:
        clocked.ground.send(units, start)
    except gateway.StripeRefused as error:
        return f"no usage could be sent at the clock's time: {error}"
    clocked.ground.settles(start, units)
    return ""


def _remove(clocked: Clocked) -> None:
    with named():
        clocked.ground.at.client.v1.test_helpers.test_clocks.delete(clocked.clock)


def _metered(clocked: Clocked) -> tuple[int, int, int]:
    """Lines, units and cents of the metered price in the upcoming invoice."""
    lines = gateway.preview_invoice(clocked.ground.at, clocked.subscription)
    of_meter = [line for line in lines if line.quantity != 1 or line.amount != 4900]
    return len(of_meter), sum(line.quantity for line in of_meter), sum(line.amount for line in of_meter)


def _before_the_subscription(ground: Ground) -> tuple[Verdict, str]:
    clocked = _on_a_clock(ground, before=5)
    try:
        if said := _use(clocked, 3):
            return "not tried", said
        _, units, _ = _metered(clocked)
        return _verdict(units == 3, f"5 before and 3 after the start: the upcoming invoice has {units}")
    finally:
        _remove(clocked)


def _tier_lines(ground: Ground) -> tuple[Verdict, str]:
    clocked = _on_a_clock(ground)
    try:
        if said := _use(clocked, INCLUDED + 15):
            return "not tried", said
        lines, _, cents = _metered(clocked)
        return _verdict(cents == 2, f"{lines} lines of {cents} cents for 15 units over at 0.1 cents: 2 expected")
    finally:
        _remove(clocked)


def _grace_and_hold(ground: Ground) -> tuple[Verdict, str]:
    clocked = _on_a_clock(ground)
    try:
        ends = read_subscription(ground.at, clocked.subscription).period_end
        _advance(clocked, ends + 10 * MINUTE)
        with named():
            (draft, *_) = ground.at.client.v1.invoices.list({"subscription": clocked.subscription, "limit": 1}).data
        if draft.status != "draft" or draft.id is None:
            return "differs", f"ten minutes after the period's end the invoice is {draft.status}"
        orders.hold_invoice(ground.at, draft.id, hold=True)
        try:
            clocked.ground.send(INCLUDED + 1000, ends - HOUR)
        except gateway.StripeRefused as error:
            return "not tried", f"no usage could be sent at the clock's time: {error}"
        _advance(clocked, ends + 3 * HOUR)
        with named():
            held: Any = ground.at.client.v1.invoices.retrieve(draft.id)
        seen = f"held for three hours it is {held.status}, of {held.total} cents: 5000 expected"
        return _verdict(held.status == "draft" and held.total == 5000, seen)
    finally:
        _remove(clocked)


TRIED: tuple[tuple[str, str, Try | None], ...] = (
    ("overwrite", "the newest event of an hour is its total, shown within ten minutes", _overwrites),
    ("newest", "most recent goes by arrival, or by the event's timestamp", _most_recent),
    ("equal timestamps", "equal timestamps are decided by arrival", _equal_timestamps),
    ("UTC hours", "windows are UTC hours", _utc_hours),
    ("lowering", "an hour's total may be lowered to 0", _lowered),
    ("identifier", "a used identifier is refused as existing", _identifier),
    ("window", "events are taken 35 days back and 5 minutes ahead", _window),
    ("strangers", "an event of an unknown customer is refused, or rejected later", _stranger),
    ("idempotency", "an Idempotency-Key repeats its first answer", _idempotency),
    ("period", "usage counts in the period that contains its timestamp", _before_the_subscription),
    ("tiers", "the lines of a graduated price add up to one rounded price", _tier_lines),
    ("grace and hold", "a held draft stays a draft and takes usage of its period", _grace_and_hold),
    ("re-pricing", "a price changed within a period re-prices its usage", None),
    ("rate", "1,000 meter events a second are taken", None),
)


def verify(at: Connection, now: Callable[[], int], pause: Callable[[int], None], suffix: str) -> tuple[Found, ...]:
    """Try each; `suffix` makes names that no earlier run has. Raises `LiveModeMismatch` for a live key, and the gateway's errors."""
    if at.livemode:
        raise gateway.LiveModeMismatch("assumptions are tried in a sandbox only: this is a live key")
    meter = gateway.ensure_meter(at, f"driftlock_assumptions_{suffix}", "Assumptions")
    with named():
        customer = at.client.v1.customers.create({"name": "Assumption"}).id
    ground = Ground(at, meter, customer, now, pause, suffix)
    found = []
    try:
        for name, assumed, attempt in TRIED:
            verdict: Verdict = "not tried"
            seen = "nothing of ours does it"
            if attempt is not None:
                try:
                    verdict, seen = attempt(ground)
                except gateway.StripeRefused as error:
                    verdict, seen = "differs", str(error)
            found.append(Found(name, assumed, verdict, " ".join(seen.split())))
    finally:
        with named():
            at.client.v1.customers.delete(customer)
            at.client.v1.billing.meters.deactivate(meter.id)
    return tuple(found)
