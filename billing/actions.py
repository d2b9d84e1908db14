"""`billing_actions`: who did what about money, with what was before and after; append-only, a hash chain per organization.

An action's hash is the sha256 of the hash before it and of its canonical bytes: a tag, then a JSON array of organization,
number, time in ms, actor, action, before and after, with sorted keys. So before and after hold what JSON gives back as it
was: texts, whole numbers, true, false, null, lists, objects. Money is text.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import psycopg
from psycopg.types.json import Jsonb

from billing import chain
from billing.chain import Fault, Head, Link
from billing.periods import milliseconds
from schemas.errors import BillingRefused

Connection = psycopg.Connection[Any]
State = Mapping[str, Any]

INSTALLATION = UUID(int=0)
"""The organization of actions that concern no tenant, or all."""

_TAG = b"driftlock.action.1\n"
_WHOLE = 1 << 63


def action_hash(
    prev_hash: bytes,
    organization_id: UUID,
    seq: int,
    at: int,
    actor: str,
    action: str,
    before: State | None,
    after: State | None,
) -> bytes:
    """The 32 bytes that seal an action; `at` in ms."""
    content = [str(organization_id), seq, at, actor, action, before, after]
    return hashlib.sha256(prev_hash + _TAG + orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()


def record(
    connection: Connection,
    organization_id: UUID,
    *,
    actor: str,
    action: str,
    before: State | None,
    after: State | None,
    at: datetime,
) -> int:
    """Append an action to an organization's chain; its number. Call it in the transaction that does what it records.

    `action` is object and verb, as `cap.set`. Locks the chain's head until the transaction ends: where the ledger's head
    (`ledger.lock`) is locked too, that comes first. `BillingRefused` where nobody is named, `ValueError` where a state
    holds what JSON would not give back.
    """
    if not actor.strip() or not action:
        raise BillingRefused("who does this must be named: the audit trail keeps it")
    for name, state in (("before", before), ("after", after)):
        _require_plain(state, name)
    for text in (actor, action):
        _require_plain(text, "text")
    connection.execute(
        "INSERT INTO action_heads (organization_id) VALUES (%s) ON CONFLICT DO NOTHING", (organization_id,)
    )
    row = connection.execute(
        "SELECT seq, hash FROM action_heads WHERE organization_id = %s FOR UPDATE", (organization_id,)
    ).fetchone()
    if row is None:
        raise ValueError(f"organization {organization_id} is not this transaction's tenant")
    head, ms = Head(*row), milliseconds(at)
    seq = head.seq + 1
    sealed = action_hash(head.hash, organization_id, seq, ms, actor, action, before, after)
    connection.execute(
        "INSERT INTO billing_actions (organization_id, seq, at, actor, action, before, after, prev_hash, hash)"
        " VALUES (%s, %s, timestamptz 'epoch' + %s * interval '1 millisecond', %s, %s, %s, %s, %s, %s)",
        (organization_id, seq, ms, actor, action, _jsonb(before), _jsonb(after), head.hash, sealed),
    )
    connection.execute(
        "UPDATE action_heads SET seq = %s, hash = %s WHERE organization_id = %s", (seq, sealed, organization_id)
    )
    return seq


def _jsonb(state: State | None) -> Jsonb | None:
    return None if state is None else Jsonb(state, dumps=orjson.dumps)


def _require_plain(value: object, where: str) -> None:
    """`ValueError` where PostgreSQL's jsonb would not give back the same bytes: floats, NULs, too large numbers."""
    if isinstance(value, list | tuple):
        for element in value:
            _require_plain(element, where)
    elif isinstance(value, Mapping):
        for key, element in value.items():
            if said := _misfit(key) or (not isinstance(key, str) and "a key that is no text"):
                raise ValueError(f"{where}: {said}")
            _require_plain(element, f"{where}.{key}")
    elif said := _misfit(value):
        raise ValueError(f"{where}: {said}")


def _misfit(value: object) -> str:
    if isinstance(value, str):
        broken = "\0" in value or any("\ud800" <= character <= "\udfff" for character in value)
        return "text holds a NUL or half a surrogate pair" if broken else ""
    if isinstance(value, int):  # true and false too
        return "" if -_WHOLE <= value < _WHOLE else f"{value} has more than 64 bits"
    return "" if value is None else f"{type(value).__name__} does not come back from JSON as it was: write it as text"


def verify(connection: Connection, organization_id: UUID) -> Fault | None:
    """The first fault of an organization's chain of actions as it stands in the database, or None."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        found = connection.execute(
            "SELECT seq, hash FROM action_heads WHERE organization_id = %s", (organization_id,)
        ).fetchone()
        with connection.cursor(name="actions_verify") as cursor:
            cursor.itersize = 5_000
            cursor.execute(
                "SELECT seq, (extract(epoch FROM at) * 1000)::bigint, actor, action, before, after, prev_hash, hash"
                " FROM billing_actions WHERE organization_id = %s ORDER BY seq",
                (organization_id,),
            )
            links = (
                Link(seq, prev_hash, hash_, action_hash(prev_hash, organization_id, seq, at, *said))
                for seq, at, *said, prev_hash, hash_ in cursor
            )
            return chain.check(links, Head(*found) if found else Head(), ("action", "actions"))


def organizations(connection: Connection) -> list[UUID]:
    """Every organization with a chain of actions, those whose head or rows were removed too."""
    rows = connection.execute(
        "SELECT organization_id FROM action_heads UNION SELECT organization_id FROM billing_actions ORDER BY 1"
    )
    return [organization_id for (organization_id,) in rows]
