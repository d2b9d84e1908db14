"""The account at the end of the chaos of billing: truth, ledger, hours and Stripe side by side, each with its difference."""

from collections import Counter
from typing import Any
from uuid import UUID

import psycopg

from billing import actions, ledger
from schemas.models import AnomalyUsage, usage_from_bytes
from schemas.settings import load
from schemas.topics import USAGE
from tests.scenarios import truth as streams
from tests.scenarios.billing_traffic import Tenant, Truth
from tests.scenarios.chaos_world import WATCHED, World, environ, said
from tests.scenarios.repeats import Repeats

Line = dict[str, Any]


def clean(given: World) -> dict[UUID, AnomalyUsage]:
    """The watched tenant's units by scoring all of `blocks` once, in this process."""
    return streams.clean(load(environ(given)))[1]


def entered(given: World) -> set[UUID]:
    """The ids of the watched tenant in the ledger."""
    rows = given.stack.query("SELECT usage_id FROM ledger WHERE organization_id = %s", given.tenant(WATCHED).id)
    return {usage_id for (usage_id,) in rows}


def add_watched(given: World, truth: Truth, fed: Repeats, units: dict[UUID, AnomalyUsage]) -> list[Line]:
    """Add to the truth what a clean scoring of `blocks` says of the watched tenant; the ledger's ids against that."""
    tenant = given.tenant(WATCHED)
    for unit in units.values():
        truth.units[tenant.name, unit.calibrated] += unit.count
    truth.scored[tenant.name] = fed.events - fed.within
    truth.repeated[tenant.name] = fed.within
    ids: set[UUID] = set()
    frames: set[tuple[int, int]] = set()
    total = 0
    for _, _, value in streams.messages(given.stack.settings, USAGE.name):
        if str(tenant.id).encode() not in value:
            continue
        usage = usage_from_bytes(value)
        total += 1
        if isinstance(usage, AnomalyUsage):
            ids.add(usage.usage_id)
        else:
            frames.add((usage.position.partition, usage.position.frame))
    truth.fates += Counter(written=len(ids), not_anomaly=len(frames), duplicates=total - len(ids) - len(frames))
    wrong = entered(given) ^ set(units)
    return [
        check(f"{tenant.name}: ids of a clean scoring and of the ledger that differ, of {len(units)}", 0, len(wrong))
    ]


def figures(given: World, truth: Truth) -> list[Line]:
    """A line per tenant and disposition, and what was checked besides."""
    ask = given.stack.query
    at_stripe: Counter[tuple[str, int]] = Counter()
    for row in given.fake.http.get("/_fake/usage").json():
        at_stripe[row["customer"], row["hour"]] += row["units"]
    lines = []
    for tenant in given.tenants:
        lines += _tenant(given, truth, tenant, at_stripe)
    per_hour = "SELECT customer_id, extract(epoch FROM meter_hour)::bigint, sum(units)::bigint FROM ledger"
    per_hour += " WHERE disposition = 'billable' AND customer_id IS NOT NULL GROUP BY 1, 2"
    ours = Counter({(customer, at): n for customer, at, n in ask(per_hour)})
    wrong = sum(ours[key] != at_stripe[key] for key in ours.keys() | at_stripe.keys())
    lines.append(check(f"hours that differ between ledger and Stripe, of {len(ours)}", 0, wrong))
    names = ("written", "not_anomaly", "duplicates", "dead_letters")
    (counts,) = ask(
        f"SELECT {', '.join(f'sum({n})::bigint' for n in names)}, sum(next_offset)::bigint FROM sink_offsets"
        " WHERE consumer = 'sink-usage'"
    )
    lines += [check(f"records {name}", truth.fates[name], n) for name, n in zip(names, counts, strict=False)]
    lines.append(check("records by their offsets", said(given), counts[-1]))
    (waiting,) = ask("SELECT count(*) FROM stripe_events WHERE state NOT IN ('applied', 'ignored')")
    lines.append(check("events of Stripe that are not applied", 0, waiting[0]))
    with psycopg.connect(given.stack.database.url(), autocommit=True) as owner:
        for what, verify in (("ledger", ledger.verify), ("actions", actions.verify)):
            broken = [one.name for one in given.tenants if verify(owner, one.id) is not None]
            lines.append(check(f"broken chains: {what}", 0, len(broken)))
    return lines


def _tenant(given: World, truth: Truth, tenant: Tenant, at_stripe: Counter[tuple[str, int]]) -> list[Line]:
    ask = given.stack.query
    booked = dict(
        ask("SELECT disposition, sum(units)::bigint FROM ledger WHERE organization_id = %s GROUP BY 1", tenant.id)
    )
    lines = []
    for disposition, units in truth.dispositions(tenant).items():
        line: Line = {"tenant": tenant.name, "plan": tenant.plan, "disposition": disposition, "truth": units}
        line |= {"ledger": booked.get(disposition, 0), "hours": None, "stripe": None}
        if disposition == "billable" and tenant.name in given.customers:
            hours = ask("SELECT coalesce(sum(units), 0)::bigint FROM meter_hours WHERE organization_id = %s", tenant.id)
            shown = sum(n for (customer, _), n in at_stripe.items() if customer == given.customers[tenant.name])
            line |= {"hours": hours[0][0], "stripe": shown}
        found = [line[name] for name in ("ledger", "hours", "stripe")]
        lines.append({**line, "difference": sum(abs(n - units) for n in found if n is not None)})
    strange = sum(n for name, n in booked.items() if name not in truth.dispositions(tenant))
    lines.append(check(f"{tenant.name}: units of other dispositions", 0, strange))
    (sums,) = ask(
        "SELECT coalesce(sum(scored_events), 0)::bigint, coalesce(sum(duplicate_events), 0)::bigint FROM usage_counters"
        " WHERE organization_id = %s",
        tenant.id,
    )
    lines.append(check(f"{tenant.name}: events scored, free", truth.scored[tenant.name], sums[0]))
    lines.append(check(f"{tenant.name}: events dropped as repeats", truth.repeated[tenant.name], sums[1]))
    return lines


def check(name: str, truth: int, found: int) -> Line:
    """A line of two numbers that must be equal."""
    return {"check": name, "truth": truth, "found": found, "difference": abs(found - truth)}


def show(lines: list[Line]) -> str:
    """The lines as a table; dispositions that nobody has are left out."""
    rows = [("tenant or check", "disposition", "truth", "ledger", "hours", "stripe", "difference")]
    for one in lines:
        first = one.get("check") or f"{one['tenant']} ({one['plan']})"
        numbers = (one["truth"], one.get("ledger", one.get("found")), one.get("hours"), one.get("stripe"))
        if "disposition" in one and not any(numbers):
            continue
        texts = tuple("" if n is None else f"{n:,}" for n in (*numbers, one["difference"]))
        rows.append((first, one.get("disposition", ""), *texts))
    return "\n".join(f"{r[0]:<78}{r[1]:<14}" + "".join(f"{n:>12}" for n in r[2:]) for r in rows)
