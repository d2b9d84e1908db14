"""The ledger: insert-only, hash-chained per organization, written under the lock of the organization's head.

An entry's hash is the sha256 of the hash before it and of the entry's canonical bytes: a tag, then a JSON array of the
sequence number and every field in the order of `Entry`, times as milliseconds of UTC since 1970.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Literal
from uuid import UUID

import orjson
import psycopg

from billing import chain
from billing.chain import Fault, Head, Link

Connection = psycopg.Connection[Any]
Kind = Literal["usage", "correction", "credit", "waive"]
Disposition = Literal["billable", "capped", "free_withheld", "warmup", "rescored", "waived"]

_TAG = b"driftlock.ledger.1\n"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; what each field means is said in the table's comments. Times in ms. The order is part of the hash."""

    organization_id: UUID
    kind: Kind
    disposition: Disposition
    usage_id: UUID
    part: int
    corrects: UUID | None
    count: int
    units: int
    stream: str
    occurred_at: int
    arrived_at: int
    recorded_at: int
    meter_hour: int
    late: bool
    period_start: int
    plan: str
    plan_version: int
    customer_id: str | None
    blocks_topic_id: str
    blocks_partition: int
    frame: int
    event: int
    usage_topic_id: str
    usage_partition: int
    usage_offset: int
    detector_version: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """An entry in its place in the chain."""

    seq: int
    prev_hash: bytes
    hash: bytes
    entry: Entry


_NAMES = tuple(field.name for field in fields(Entry))
_values = attrgetter(*_NAMES)


def entry_hash(prev_hash: bytes, seq: int, entry: Entry) -> bytes:
    """The 32 bytes that seal an entry."""
    return hashlib.sha256(prev_hash + _TAG + orjson.dumps([seq, *_values(entry)])).digest()


def seal(head: Head, entries: Iterable[Entry]) -> tuple[list[Sealed], Head]:
    """The entries of one organization chained behind its head, and the new head."""
    sealed = []
    seq, last = head.seq, head.hash
    for entry in entries:
        seq += 1
        prev, last = last, entry_hash(last, seq, entry)
        sealed.append(Sealed(seq, prev, last, entry))
    return sealed, Head(seq, last)


def lock(connection: Connection, organization_ids: Iterable[UUID]) -> dict[UUID, Head]:
    """Lock the organizations' heads until the transaction ends, in sorted order so that no two writers deadlock."""
    wanted = sorted(set(organization_ids))
    query = (
        "SELECT organization_id, seq, hash FROM ledger_heads WHERE organization_id = ANY(%s)"
        " ORDER BY organization_id FOR UPDATE"
    )
    rows = connection.execute(query, (wanted,)).fetchall()
    if len(rows) < len(wanted):
        connection.execute(
            "INSERT INTO ledger_heads (organization_id) SELECT unnest(%s::uuid[]) ORDER BY 1 ON CONFLICT DO NOTHING",
            (wanted,),
        )
        rows = connection.execute(query, (wanted,)).fetchall()
    return {organization_id: Head(seq, hash_) for organization_id, seq, hash_ in rows}


_TYPES = {
    "organization_id": "uuid",
    "usage_id": "uuid",
    "corrects": "uuid",
    "part": "smallint",
    "late": "boolean",
    "blocks_partition": "integer",
    "usage_partition": "integer",
    "plan_version": "integer",
    **dict.fromkeys(("count", "units", "frame", "event", "usage_offset"), "bigint"),
}
_TIMES = frozenset({"occurred_at", "arrived_at", "recorded_at", "meter_hour", "period_start"})
_COLUMNS = (*_NAMES, "seq", "prev_hash", "hash")


def _column_type(name: str) -> str:
    return "bigint" if name in _TIMES else _TYPES.get(name, "text")


# Whole milliseconds as int8 and one multiplication are exact up to 2^53 microseconds: the year 2255.
_INSERT = (
    f"INSERT INTO ledger ({', '.join(_COLUMNS)}) SELECT "  # noqa: S608 names of our own
    + ", ".join(
        f"timestamptz 'epoch' + {name} * interval '1 millisecond'" if name in _TIMES else name for name in _COLUMNS
    )
    + " FROM unnest("
    + ", ".join([*(f"%s::{_column_type(name)}[]" for name in _NAMES), "%s::bigint[]", "%s::bytea[]", "%s::bytea[]"])
    + f") AS entry ({', '.join(_COLUMNS)})"
)


def _array(column: Sequence[object]) -> str:
    """A column as PostgreSQL writes an array: a tenth of the time that psycopg's own dumper takes on 30 columns."""
    texts = {value: _element(value) for value in set(column)}
    return "{" + ",".join([texts[value] for value in column]) + "}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def append(connection: Connection, heads: Mapping[UUID, Head], entries: Sequence[Entry]) -> None:
    """Write entries, of any locked organizations, and move their heads. Entries keep their order per organization."""
    by_organization: dict[UUID, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_organization[entry.organization_id].append(entry)
    rows: list[Sealed] = []
    moved: list[tuple[UUID, int, bytes]] = []
    for organization_id in sorted(by_organization):
        sealed, head = seal(heads[organization_id], by_organization[organization_id])
        rows += sealed
        moved.append((organization_id, head.seq, head.hash))
    if not rows:
        return
    columns = list(zip(*(_values(row.entry) for row in rows), strict=True))
    columns += [tuple(row.seq for row in rows), tuple(row.prev_hash for row in rows), tuple(row.hash for row in rows)]
    connection.execute(_INSERT, [_array(column) for column in columns])
    connection.execute(
        "UPDATE ledger_heads SET seq = moved.seq, hash = moved.hash"
        " FROM unnest(%s::uuid[], %s::bigint[], %s::bytea[]) AS moved (organization_id, seq, hash)"
        " WHERE ledger_heads.organization_id = moved.organization_id",
        [list(column) for column in zip(*moved, strict=True)],
    )


def check(rows: Iterable[Sealed], head: Head) -> Fault | None:
    """The first fault of a chain, given its entries in order of their numbers, or None."""
    return chain.check(
        (Link(row.seq, row.prev_hash, row.hash, entry_hash(row.prev_hash, row.seq, row.entry)) for row in rows), head
    )


_SELECTED = ", ".join(f"(extract(epoch FROM {name}) * 1000)::bigint" if name in _TIMES else name for name in _NAMES)
_READ = f"SELECT seq, prev_hash, hash, {_SELECTED} FROM ledger WHERE organization_id = %s ORDER BY seq"  # noqa: S608


def of_usage(connection: Connection, organization_id: UUID, usage_id: UUID) -> list[Entry]:
    """The entries of one id, in order of their parts."""
    rows = connection.execute(
        f"SELECT {_SELECTED} FROM ledger WHERE organization_id = %s AND usage_id = %s ORDER BY part",  # noqa: S608
        (organization_id, usage_id),
    )
    return [Entry(*row) for row in rows]


def standing(connection: Connection, organization_id: UUID, usage_id: UUID) -> tuple[Entry, int] | None:
    """Where a record's billable units stand now, and how many are left of them; None if there are none.

    They stand in the entry that booked them, or in the correction that moved them to another period.
    """
    taken = connection.execute(
        f"SELECT {_SELECTED} FROM ledger WHERE organization_id = %s AND corrects = %s ORDER BY seq",  # noqa: S608
        (organization_id, usage_id),
    )
    # Of a usage record only: what an entry of another kind holds stands under the record that it corrects.
    entered = of_usage(connection, organization_id, usage_id)
    billable = [e for e in entered if e.kind == "usage" and e.disposition == "billable"]
    billable += [Entry(*row) for row in taken]
    left: dict[tuple[int, str | None], int] = defaultdict(int)
    where: dict[tuple[int, str | None], Entry] = {}
    for entry in billable:
        # A credit note has no customer; what it takes back had one.
        key = (entry.period_start, entry.plan)
        left[key] += entry.units
        if entry.units > 0:
            where[key] = entry
    found = [(where[key], units) for key, units in left.items() if units > 0]
    return found[-1] if found else None


def verify(connection: Connection, organization_id: UUID) -> Fault | None:
    """The first fault of an organization's chain as it stands in the database, or None. Reads it in one snapshot."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        found = connection.execute(
            "SELECT seq, hash FROM ledger_heads WHERE organization_id = %s", (organization_id,)
        ).fetchone()
        with connection.cursor(name="ledger_verify") as cursor:
            cursor.itersize = 5_000
            cursor.execute(_READ, (organization_id,))
            rows = (Sealed(seq, prev_hash, hash_, Entry(*values)) for seq, prev_hash, hash_, *values in cursor)
            return check(rows, Head(*found) if found else Head())


def around(connection: Connection, organization_id: UUID, usage_id: UUID) -> list[Sealed]:
    """The entries of an id, or that correct it, each with the one before and after it in the chain, in order of their numbers."""
    rows = connection.execute(
        f"SELECT seq, prev_hash, hash, {_SELECTED} FROM ledger l WHERE organization_id = %(o)s AND EXISTS"  # noqa: S608
        " (SELECT FROM ledger f WHERE f.organization_id = %(o)s AND (f.usage_id = %(u)s OR f.corrects = %(u)s)"
        " AND l.seq BETWEEN f.seq - 1 AND f.seq + 1) ORDER BY seq",
        {"o": organization_id, "u": usage_id},
    )
    return [Sealed(seq, prev_hash, hash_, Entry(*values)) for seq, prev_hash, hash_, *values in rows]


def organizations(connection: Connection) -> list[UUID]:
    """Every organization with a chain, those whose head or rows were removed too."""
    rows = connection.execute(
        "SELECT organization_id FROM ledger_heads UNION SELECT organization_id FROM ledger ORDER BY 1"
    )
    return [organization_id for (organization_id,) in rows]
