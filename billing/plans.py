"""Plans: the reviewed file plans.toml, and the immutable plan versions that the database holds."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib.resources import files
from typing import Any

import psycopg

from billing import actions
from schemas.errors import PlanChanged, UnknownPlan

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Plan:
    """One version of a plan. Money in cents; `overage_cents` is for each unit over `included`, None: never billed."""

    plan: str
    title: str
    version: int
    monthly_cents: Decimal
    included: int
    overage_cents: Decimal | None
    cap_percent: int
    requests_per_minute: int
    streams: int
    retention_days: int

    @property
    def cap(self) -> int:
        """Units from which on nothing more is billed while the cap is on."""
        return self.included * self.cap_percent // 100


@cache
def plans() -> tuple[Plan, ...]:
    """Every plan version of plans.toml, in its order."""
    return read(files("billing").joinpath("plans.toml").read_text("utf-8"))


def latest(plan: str) -> Plan:
    """The newest version of a plan; `UnknownPlan` if there is none of that name."""
    versions = [p for p in plans() if p.plan == plan]
    if not versions:
        known = ", ".join(sorted({p.plan for p in plans()}))
        raise UnknownPlan(f"there is no plan {plan!r}: {known}")
    return max(versions, key=lambda p: p.version)


def read(text: str) -> tuple[Plan, ...]:
    """Plans of a TOML text; `PlanChanged` says what is wrong with it."""
    try:
        tables = tomllib.loads(text)["plan"]
        found = tuple(_plan(table) for table in tables)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, InvalidOperation) as error:
        raise PlanChanged(f"billing/plans.toml can't be read: {error}") from error
    if len({(p.plan, p.version) for p in found}) != len(found):
        raise PlanChanged("billing/plans.toml has a plan version twice")
    return found


def _plan(table: dict[str, Any]) -> Plan:
    if not isinstance(table["monthly_cents"], str) or not isinstance(table["overage_cents"], str):
        raise TypeError("money must be text, never a float")
    overage = table["overage_cents"]
    return Plan(
        **{
            **table,
            "monthly_cents": Decimal(table["monthly_cents"]),
            "overage_cents": Decimal(overage) if overage else None,
        }
    )


Stored = Mapping[tuple[str, int], Plan]
"""The plan versions of the database, by name and version."""


def stored(connection: Connection) -> Stored:
    """Every plan version that the database holds."""
    rows = connection.execute(
        "SELECT plan, title, version, monthly_cents, included, overage_cents, cap_percent, requests_per_minute, streams,"
        " retention_days FROM plan_versions JOIN plans USING (plan)"
    ).fetchall()
    return {(row[0], row[2]): Plan(*row) for row in rows}


def of_version(connection: Connection, plan: str, version: int) -> Plan:
    """A plan version that the database holds; `UnknownPlan` if it holds none such.

    What the file says of it is the same (`store` checks that), and needs no query; one that a later release stored is read.
    """
    for known in plans():
        if (known.plan, known.version) == (plan, version):
            return known
    found = stored(connection).get((plan, version))
    if found is None:
        raise UnknownPlan(f"there is no version {version} of plan {plan!r}")
    return found


def store(connection: Connection, at: datetime) -> None:
    """Put the plan versions that are missing into the database, each an action; `PlanChanged` where one there differs.

    Runs as the owner of the schema, by `driftlock db migrate`.
    """
    with connection.transaction():
        for p in plans():
            connection.execute("INSERT INTO plans VALUES (%s, %s) ON CONFLICT DO NOTHING", (p.plan, p.title))
            values = (
                p.plan,
                p.version,
                p.monthly_cents,
                p.included,
                p.overage_cents,
                p.cap_percent,
                p.requests_per_minute,
                p.streams,
                p.retention_days,
            )
            made = connection.execute(
                "INSERT INTO plan_versions VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING", values
            )
            if made.rowcount:
                actions.record(
                    connection,
                    actions.INSTALLATION,
                    actor="migrate",
                    action="plan.store",
                    before=None,
                    after={
                        name: str(value) if isinstance(value, Decimal) else value for name, value in asdict(p).items()
                    },
                    at=at,
                )
            row = connection.execute(
                "SELECT plan, version, monthly_cents, included, overage_cents, cap_percent, requests_per_minute,"
                " streams, retention_days FROM plan_versions WHERE plan = %s AND version = %s",
                (p.plan, p.version),
            ).fetchone()
            if row != values:
                raise PlanChanged(
                    f"billing/plans.toml: plan {p.plan} version {p.version} differs from the one in the database,"
                    " which is immutable: add a new version instead"
                )
