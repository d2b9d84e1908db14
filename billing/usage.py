"""Usage records → ledger, rollup and hour totals, in the transaction of the sink that read them.

What is billed is decided in this order: the id was seen before (nothing happens), the record starts where its stream was
billed already (`rescored`, 0 units), its reference was not calibrated (`warmup`), else it is split at the included units and
at the cap of its period (split.py), by what the rollup holds under the lock of its organization.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import psycopg

from billing import alerts, booking, ledger, plans, rollup, terms
from billing.ledger import Disposition, Entry
from billing.rollup import Use
from billing.split import Slice, split
from billing.terms import Terms
from schemas.errors import TopicRecreated
from schemas.models import AnomalyUsage, ScoredUsage

Connection = psycopg.Connection[Any]
Spot = tuple[int, int]
"""A place in one partition of `blocks`: (offset of the frame, index of the event)."""

_DAY_MS = 86_400_000
_EARLIEST_MS = 946_684_800_000  # the year 2000: an earlier time is a fault of whoever wrote it
_INTEGER, _BIGINT = 1 << 31, 1 << 53


@dataclass(frozen=True, slots=True)
class Arrival:
    """A usage record and its place in the topic `usage`; `arrived_at` is the broker's append time in ms."""

    record: AnomalyUsage | ScoredUsage
    topic_id: str
    partition: int
    offset: int
    arrived_at: int


Fate = Literal["written", "not_anomaly", "duplicate", "rejected"]
"""What became of a record: an entry of the ledger; summed and never billed; known already; refused with a reason."""


@dataclass(frozen=True)
class Booked:
    """What became of a batch: the fate of each record in order, the reasons of the rejected ones by their index.

    `units`: units of the entries by how they stand in the ledger.
    """

    fates: tuple[Fate, ...]
    reasons: Mapping[int, str]
    rescored: tuple[Entry, ...]
    units: Mapping[Disposition, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A record that becomes entries; `disposition` None: it is split."""

    record: AnomalyUsage
    arrival: Arrival
    place: booking.Place
    disposition: Literal["warmup", "rescored"] | None


@dataclass
class _Known:
    """What the database knows of a batch's organizations, moved on while the batch is booked."""

    usage_ids: set[tuple[UUID, UUID]]
    billed: dict[tuple[UUID, str, str], tuple[int, Spot]]
    scored: dict[tuple[UUID, str, int], int]
    periods: booking.Periods
    placed: list[_Placed] = field(default_factory=list)
    summed: list[rollup.Scored] = field(default_factory=list)


class _Rejected(Exception):  # never leaves this module
    """A record has no place in the books; the text says why."""


def book(connection: Connection, arrivals: Sequence[Arrival], *, now: int) -> Booked:
    """Book a batch of records, in their order; `now` in ms is when. The caller owns the transaction.

    Rejected records come back with a reason, and leave nothing behind. Raises `TopicRecreated` where a record was made
    from a `blocks` topic that is not accepted: positions compare only within one topic.
    """
    reasons = {i: said for i, arrival in enumerate(arrivals) if (said := unfit(arrival))}
    sound = [arrival for i, arrival in enumerate(arrivals) if i not in reasons]
    if not sound:
        return Booked(tuple("rejected" for _ in arrivals), reasons, ())
    _check_blocks(connection, sound)
    # From here to the end of the transaction nobody else writes for these organizations.
    heads = ledger.lock(connection, (arrival.record.organization_id for arrival in sound))
    known = _load(connection, sound)
    fates: list[Fate] = []
    for i, arrival in enumerate(arrivals):
        try:
            if i in reasons:
                fates.append("rejected")
            elif isinstance(arrival.record, AnomalyUsage):
                fates.append(_book_anomaly(connection, known, arrival, arrival.record))
            else:
                fates.append(_book_scored(connection, known, arrival, arrival.record))
        except _Rejected as said:
            reasons[i] = str(said)
            fates.append("rejected")
    entries, changes = _divide(connection, known.placed, now)
    with connection.pipeline():
        ledger.append(connection, heads, entries)
        rollup.add(connection, entries, known.summed)
        _save(connection, known)
    alerts.tell(connection, changes, now)
    units: dict[Disposition, int] = {}
    for entry in entries:
        units[entry.disposition] = units.get(entry.disposition, 0) + entry.units
    rescored = tuple(entry for entry in entries if entry.disposition == "rescored")
    return Booked(tuple(fates), reasons, rescored, units)


def unfit(arrival: Arrival) -> str:
    """Why a record that fits its model can't be booked, or nothing."""
    record, position = arrival.record, arrival.record.position
    if not _EARLIEST_MS <= record.occurred_at <= arrival.arrived_at + _DAY_MS:
        return f"occurred_at: {record.occurred_at} is before the year 2000, or a day after its arrival"
    if not (0 <= position.partition < _INTEGER and 0 <= position.frame < _BIGINT and 0 <= position.event < _BIGINT):
        return "position: its numbers must be 0 or more, and small enough for their columns"
    texts = [position.topic_id]
    if isinstance(record, AnomalyUsage):
        texts += [record.stream, record.detector_version]
    else:
        if max(record.count, record.duplicates, record.skipped, record.seeded) >= _BIGINT:
            return "count: too large"
        if any(not (bits.isascii() and bits.isdigit() and 0 <= n < _BIGINT) for bits, n in record.opened.items()):
            return "opened: must map whole numbers of bits to counts of 0 or more"
    if any("\0" in text or (not text.isprintable() and _unencodable(text)) for text in texts):
        return "text: holds a NUL or half a surrogate pair"
    return ""


def _unencodable(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _check_blocks(connection: Connection, arrivals: Iterable[Arrival]) -> None:
    named = {arrival.record.position.topic_id for arrival in arrivals}
    accepted = {
        topic_id for (topic_id,) in connection.execute("SELECT topic_id FROM source_topics WHERE topic = 'blocks'")
    }
    if unknown := sorted(named - accepted):
        raise TopicRecreated(
            f"usage records were made from another topic `blocks` ({unknown[0]}) than the accepted one: its places do not"
            " compare. If the topic was made again on purpose: driftlock sink accept blocks"
        )


def _load(connection: Connection, arrivals: Sequence[Arrival]) -> _Known:
    organizations = sorted({arrival.record.organization_id for arrival in arrivals})
    anomalies = [arrival.record for arrival in arrivals if isinstance(arrival.record, AnomalyUsage)]
    known = connection.execute(
        "SELECT organization_id, usage_id FROM unnest(%s::uuid[], %s::uuid[]) AS asked (organization_id, usage_id)"
        " JOIN ledger USING (organization_id, usage_id)",
        ([record.organization_id for record in anomalies], [record.usage_id for record in anomalies]),
    ).fetchall()
    streams = sorted({(record.organization_id, record.stream) for record in anomalies})
    billed = connection.execute(
        "SELECT organization_id, stream, topic_id, partition, frame, event"
        " FROM unnest(%s::uuid[], %s::text[]) AS asked (organization_id, stream)"
        " JOIN billed_through USING (organization_id, stream)",
        ([organization_id for organization_id, _ in streams], [stream for _, stream in streams]),
    ).fetchall()
    scored = connection.execute(
        "SELECT organization_id, topic_id, partition, frame FROM scored_through WHERE organization_id = ANY(%s)",
        (organizations,),
    ).fetchall()
    return _Known(
        set(known),
        {(o, stream, topic): (partition, (frame, event)) for o, stream, topic, partition, frame, event in billed},
        {(o, topic, partition): frame for o, topic, partition, frame in scored},
        booking.load(connection, organizations),
    )


def _place(connection: Connection, known: _Known, arrival: Arrival) -> booking.Place:
    record = arrival.record
    place = booking.place(connection, known.periods, record.organization_id, record.occurred_at, arrival.arrived_at)
    if place is None:
        raise _Rejected(
            f"organization {record.organization_id} has no billing period at {record.occurred_at}: is it signed up?"
        )
    return place


def _book_anomaly(connection: Connection, known: _Known, arrival: Arrival, record: AnomalyUsage) -> Fate:
    if (record.organization_id, record.usage_id) in known.usage_ids:
        return "duplicate"
    position = record.position
    stream = (record.organization_id, record.stream, position.topic_id)
    spot = (position.frame, position.event)
    partition, through = known.billed.get(stream, (position.partition, (-1, -1)))
    if partition != position.partition:
        raise _Rejected(
            f"position: stream {record.stream} was in partition {partition} of blocks, not {position.partition}"
        )
    place = _place(connection, known, arrival)
    disposition: Literal["warmup", "rescored"] | None = None if record.calibrated else "warmup"
    if spot <= through:
        disposition = "rescored"
    known.usage_ids.add((record.organization_id, record.usage_id))
    known.billed[stream] = (partition, max(spot, through))
    known.placed.append(_Placed(record, arrival, place, disposition))
    return "written"


def _divide(connection: Connection, placed: Sequence[_Placed], now: int) -> tuple[list[Entry], Sequence[alerts.Change]]:
    """The entries of a batch, in its order, and how the use of each period changed by them."""
    shares = [one for one in placed if one.disposition is None]
    meter = _Meter(connection, shares) if shares else None
    entries: list[Entry] = []
    for one in placed:
        if one.disposition is not None or meter is None:
            units = 0 if one.disposition == "rescored" else one.record.count
            entries.append(_entry(one, 0, one.disposition or "warmup", units, now))
        else:
            entries += [_entry(one, *part, now) for part in meter.take(one)]
    return entries, meter.changes() if meter else ()


@dataclass(slots=True)
class _Standing:
    """A period's use, moved on record by record. `terms`: the last record's, the same for arrivals in [since, until)."""

    period: booking.Period
    before: Use
    delivered: int
    more_delivered: int = 0
    more_over: int = 0
    more_net: int = 0
    terms: Terms | None = None
    since: int = 0
    until: int = 0


class _Meter:
    """The use of the periods of a batch. Periods are known by their identity: hashing a UUID a record costs more."""

    def __init__(self, connection: Connection, shares: Sequence[_Placed]) -> None:
        periods = {id(one.place.period): one.place.period for one in shares}
        keys = {number: (period.organization_id, period.starts_at) for number, period in periods.items()}
        self._connection = connection
        self._agreed = terms.load(connection, (organization_id for organization_id, _ in keys.values()))
        found = rollup.use_of(connection, keys.values())
        self._standing = {
            number: _Standing(period, before := found.get(keys[number], Use()), before.delivered)
            for number, period in periods.items()
        }

    def take(self, one: _Placed) -> list[Slice]:
        """The parts of the next record."""
        count, now = one.record.count, self._standing[id(one.place.period)]
        applied = now.terms
        if applied is None or not now.since <= one.arrival.arrived_at < now.until:
            applied = self._in_force(one.arrival.arrived_at, now)
        if now.delivered + count <= applied.included:
            now.delivered += count
            now.more_delivered += count
            now.more_net += count
            return [Slice(0, "billable", count)]
        parts = split(count, now.delivered, applied)
        for part, disposition, units in parts:
            if part == 2:
                now.more_over += units
            else:
                now.delivered += units
                now.more_delivered += units
                now.more_net += units if disposition == "billable" else 0
        return parts

    def _in_force(self, arrived_at: int, now: _Standing) -> Terms:
        period = now.period
        agreed = self._agreed.get(period.organization_id, terms.NOTHING)
        plan = plans.of_version(self._connection, period.plan, period.plan_version)
        now.terms = terms.terms(plan, agreed, period.starts_at, arrived_at)
        set_at = [one.set_at for one in agreed.overrides] + [one.set_at for one in agreed.caps]
        now.since = max((at for at in set_at if at <= arrived_at), default=0)
        now.until = min((at for at in set_at if at > arrived_at), default=_BIGINT)
        return now.terms

    def changes(self) -> list[alerts.Change]:
        """What became of each period."""
        found = []
        for now in self._standing.values():
            if now.terms is not None:
                was = now.before
                after = Use(was.delivered + now.more_delivered, was.over + now.more_over, was.net + now.more_net)
                period = now.period
                found.append(
                    alerts.Change(period.organization_id, period.starts_at, period.ends_at, now.terms, was, after)
                )
        return found


def _entry(one: _Placed, part: int, disposition: Disposition, units: int, now: int) -> Entry:
    record, arrival, place = one.record, one.arrival, one.place
    position = record.position
    return Entry(
        organization_id=record.organization_id,
        kind="usage",
        disposition=disposition,
        usage_id=record.usage_id,
        part=part,
        corrects=None,
        count=record.count,
        units=units,
        stream=record.stream,
        occurred_at=record.occurred_at,
        arrived_at=arrival.arrived_at,
        recorded_at=now,
        meter_hour=place.hour,
        late=place.late,
        period_start=place.period.starts_at,
        plan=place.period.plan,
        plan_version=place.period.plan_version,
        customer_id=place.period.customer_id,
        blocks_topic_id=position.topic_id,
        blocks_partition=position.partition,
        frame=position.frame,
        event=position.event,
        usage_topic_id=arrival.topic_id,
        usage_partition=arrival.partition,
        usage_offset=arrival.offset,
        detector_version=record.detector_version,
        reason="",
    )


def _book_scored(connection: Connection, known: _Known, arrival: Arrival, record: ScoredUsage) -> Fate:
    position = record.position
    key = (record.organization_id, position.topic_id, position.partition)
    # Frames of a partition come in order, so what lies at or below the last one counted is a repetition.
    if position.frame <= known.scored.get(key, -1):
        return "duplicate"
    place = _place(connection, known, arrival)
    known.scored[key] = position.frame
    known.summed.append(
        rollup.Scored(
            key,
            place.period.starts_at,
            record.occurred_at,
            record.count,
            record.duplicates,
            record.skipped,
            record.seeded,
            {int(bits[:9]): n for bits, n in record.opened.items()},
        )
    )
    return "not_anomaly"


def _save(connection: Connection, known: _Known) -> None:
    streams = {(p.record.organization_id, p.record.stream, p.record.position.topic_id) for p in known.placed}
    if streams:
        rows = [(*key, known.billed[key][0], *known.billed[key][1]) for key in sorted(streams)]
        connection.execute(
            "INSERT INTO billed_through AS b SELECT * FROM"
            " unnest(%s::uuid[], %s::text[], %s::text[], %s::integer[], %s::bigint[], %s::bigint[])"
            " ON CONFLICT (organization_id, stream, topic_id) DO UPDATE SET frame = excluded.frame, event = excluded.event",
            [list(column) for column in zip(*rows, strict=True)],
        )
    if known.summed:
        frames = [(*key, known.scored[key]) for key in sorted({one.key for one in known.summed})]
        connection.execute(
            "INSERT INTO scored_through SELECT * FROM unnest(%s::uuid[], %s::text[], %s::integer[], %s::bigint[])"
            " ON CONFLICT (organization_id, topic_id, partition) DO UPDATE SET frame = excluded.frame",
            [list(column) for column in zip(*frames, strict=True)],
        )
