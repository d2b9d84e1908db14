"""The chain of actions on a real PostgreSQL: who may write it, and that tampering is found and named."""

import uuid
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from billing import actions
from billing.tenant import tenant
from tests.stack.database import Database

AT = datetime(2026, 3, 2, 10, 37, 0, 123_000, tzinfo=UTC)
STATE: dict[str, Any] = {"units": -1, "rate": "0.1", "deep": {"ü\u2028": [None, True, 9_007_199_254_740_993]}, "a": ""}


def act(connection: psycopg.Connection[Any], o: uuid.UUID, action: str = "cap.set") -> int:
    return actions.record(connection, o, actor="user/1", action=action, before=None, after=STATE, at=AT)


@pytest.mark.parametrize("role", ["driftlock_api", "driftlock_meter", "driftlock_webhook", "driftlock_jobs"])
def test_who_acts_on_money_writes_the_chain(database: Database, role: str) -> None:
    o = uuid.uuid4()
    with psycopg.connect(database.url(role), autocommit=True) as connection:
        for number in (1, 2, 3):
            if role == "driftlock_api":
                with tenant(connection, o):
                    assert act(connection, o) == number
            else:
                with connection.transaction():
                    assert act(connection, o) == number
    with psycopg.connect(database.url("driftlock_jobs"), autocommit=True) as jobs:
        assert actions.verify(jobs, o) is None
        assert actions.organizations(jobs) == [actions.INSTALLATION, o]
        assert actions.verify(jobs, actions.INSTALLATION) is None


def test_the_api_writes_no_other_tenants_chain(database: Database) -> None:
    with (
        psycopg.connect(database.url("driftlock_api"), autocommit=True) as api,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        tenant(api, uuid.uuid4()),
    ):
        act(api, uuid.uuid4())


def test_an_action_that_is_rolled_back_leaves_no_gap(database: Database) -> None:
    o = uuid.uuid4()
    with psycopg.connect(database.url("driftlock_jobs"), autocommit=True) as jobs:
        with jobs.transaction(force_rollback=True):
            act(jobs, o)
        with jobs.transaction():
            assert act(jobs, o) == 1
        assert actions.verify(jobs, o) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE billing_actions SET actor = 'other' WHERE seq = 2", "action 2 was changed"),
        ("UPDATE billing_actions SET after = jsonb_set(after, '{units}', '-2') WHERE seq = 3", "action 3 was changed"),
        ("UPDATE billing_actions SET before = '{}' WHERE seq = 1", "action 1 was changed"),
        ("UPDATE billing_actions SET at = at + interval '1 millisecond' WHERE seq = 1", "action 1 was changed"),
        ("DELETE FROM billing_actions WHERE seq = 2", "actions 2 to 2 were removed"),
        ("DELETE FROM billing_actions WHERE seq = 3", "actions 3 to 3 were removed"),
        ("DELETE FROM billing_actions", "actions 1 to 3 were removed"),
        (
            "INSERT INTO billing_actions SELECT organization_id, 4, at, actor, action, before, after, hash, hash FROM billing_actions WHERE seq = 3",
            "action 4 was changed",
        ),
        ("UPDATE action_heads SET seq = 2, hash = (SELECT hash FROM billing_actions a WHERE seq = 2 AND a.organization_id = action_heads.organization_id) WHERE seq = 3", "3 to 3 were inserted"),
        ("DELETE FROM action_heads", "actions 1 to 3 were inserted"),
    ],
)  # fmt: skip
def test_what_a_superuser_does_is_found_and_named(database: Database, change: str, said: str) -> None:
    o = uuid.uuid4()
    with psycopg.connect(database.url(), autocommit=True) as owner:
        for _ in range(3):
            with owner.transaction():
                act(owner, o)
        assert actions.verify(owner, o) is None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.execute("UPDATE billing_actions SET actor = 'x'")
        owner.execute("SET session_replication_role = replica")
        owner.execute(change.encode())
        fault = actions.verify(owner, o)
    assert fault is not None
    assert fault.what.endswith(said)
