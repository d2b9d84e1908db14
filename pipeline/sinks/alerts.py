"""Alerts of rules, written with the anomalies that they tell: once for each episode and rule, in the sink's transaction.

The first revision that a rule matches decides what becomes of the episode under it (`alert_episodes`), for good:

| the rule | fate | outbox |
| --- | --- | --- |
| is muted | muted | nothing, nor later (of an episode told before, the end is) |
| told another episode of the group within its cooldown | cooldown | nothing; counted, and said with the group's next alert |
| else | told | anomaly.created; later revisions and the end where the rule asks for them |

In quiet hours rows are written as ever, and due at their end.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from billing import outbox
from billing.outbox import Letter
from billing.periods import instant
from pipeline.alerts.rules import Quiet, Rule, group_key, matches, quiet_until
from pipeline.sinks.sink import Connection
from schemas.models import Anomaly
from schemas.notices import AnomalyCreated, AnomalyNotice, AnomalyResolved, AnomalyTold, AnomalyUpdated

_RULES = (
    "SELECT organization_id, id, name, min_severity, stream_pattern, kinds, updates, recovery, group_by,"
    " cooldown_seconds, quiet_from, quiet_until, quiet_zone, quiet_below, muted_until FROM alert_rules"
    " WHERE organization_id = ANY(%s) AND enabled AND deleted_at IS NULL ORDER BY organization_id, id"
)


@dataclass
class _Group:
    """When a group was last told, and how many of its episodes were held back since."""

    told_at: datetime | None
    held: int


_GroupKey = tuple[UUID, UUID, str]


def tell(connection: Connection, written: Sequence[Anomaly], now: int) -> None:
    """Write what the rules tell of anomalies whose newest revision was written just now; `now` in ms.

    Call it in the transaction that wrote them. Repeated, it writes nothing more.
    """
    if not written:
        return
    rules = _rules(connection, {a.organization_id for a in written})
    pairs = [(rule, a) for a in sorted(written, key=_order) for rule in rules.get(a.organization_id, ())]
    if not pairs:
        return
    known = _known(connection, pairs)
    fresh = [(rule, a) for rule, a in pairs if (rule.id, a.id) not in known and matches(rule, a)]
    groups = _locked(connection, fresh)
    fates: list[tuple[Rule, Anomaly, str]] = []
    letters = []
    at = instant(now)
    for rule, a in fresh:
        fate, held = _decide(rule, groups.get(_key(rule, a)), at)
        fates.append((rule, a, fate))
        if fate == "told":
            letters.append(_letter(rule, a, AnomalyCreated, "created", held, at))
            if rule.recovery and not a.open:
                letters.append(_letter(rule, a, AnomalyResolved, "resolved", 0, at))
    for rule, a in pairs:
        if known.get((rule.id, a.id)) != "told":
            continue
        if rule.recovery and not a.open:
            letters.append(_letter(rule, a, AnomalyResolved, "resolved", 0, at))
        elif rule.updates and a.open and not _muted(rule, at):
            letters.append(_letter(rule, a, AnomalyUpdated, f"updated/{a.revision}", 0, at))
    _keep(connection, fates, groups, at)
    outbox.put(connection, letters)


def _order(anomaly: Anomaly) -> tuple[int, UUID]:
    return anomaly.created_at, anomaly.id


def _rules(connection: Connection, organizations: Iterable[UUID]) -> Mapping[UUID, list[Rule]]:
    found: dict[UUID, list[Rule]] = {}
    for row in connection.execute(_RULES, (list(organizations),)):
        organization_id, id_, name, severity, pattern, kinds, updates, recovery, group, seconds, *hours, muted = row
        quiet = Quiet(*hours) if hours[0] is not None else None
        rule = Rule(
            *(organization_id, id_, name, severity, pattern, tuple(kinds), updates, recovery, group),
            *(timedelta(seconds=seconds), quiet, muted),
        )
        found.setdefault(organization_id, []).append(rule)
    return found


def _known(connection: Connection, pairs: Sequence[tuple[Rule, Anomaly]]) -> dict[tuple[UUID, UUID], str]:
    rows = connection.execute(
        "SELECT e.rule_id, e.anomaly_id, e.fate FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[]) AS asked (o, r, a)"
        " JOIN alert_episodes e ON e.organization_id = o AND e.rule_id = r AND e.anomaly_id = a",
        ([r.organization_id for r, _ in pairs], [r.id for r, _ in pairs], [a.id for _, a in pairs]),
    )
    return {(rule_id, anomaly_id): fate for rule_id, anomaly_id, fate in rows}


def _key(rule: Rule, anomaly: Anomaly) -> _GroupKey:
    return rule.organization_id, rule.id, group_key(rule, anomaly)


def _locked(connection: Connection, fresh: Sequence[tuple[Rule, Anomaly]]) -> dict[_GroupKey, _Group]:
    """The groups that share a cooldown, locked in one order, so that two sinks never deadlock."""
    keys = sorted({_key(rule, a) for rule, a in fresh if rule.cooldown})
    if not keys:
        return {}
    columns = [list(column) for column in zip(*keys, strict=True)]
    connection.execute(
        "INSERT INTO alert_groups (organization_id, rule_id, group_key)"
        " SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[]) ON CONFLICT DO NOTHING",
        columns,
    )
    rows = connection.execute(
        "SELECT g.organization_id, g.rule_id, g.group_key, g.told_at, g.held FROM alert_groups g"
        " JOIN unnest(%s::uuid[], %s::uuid[], %s::text[]) AS asked (o, r, k)"
        " ON g.organization_id = o AND g.rule_id = r AND g.group_key = k"
        " ORDER BY g.organization_id, g.rule_id, g.group_key FOR UPDATE OF g",
        columns,
    )
    return {(o, rule_id, key): _Group(told_at, held) for o, rule_id, key, told_at, held in rows}


def _decide(rule: Rule, group: _Group | None, at: datetime) -> tuple[str, int]:
    """The fate of an episode, and how many of its group were held back before it."""
    if _muted(rule, at):
        return "muted", 0
    if group is None:
        return "told", 0
    if group.told_at is not None and at < group.told_at + rule.cooldown:
        group.held += 1
        return "cooldown", 0
    held, group.held, group.told_at = group.held, 0, at
    return "told", held


def _muted(rule: Rule, at: datetime) -> bool:
    return rule.muted_until is not None and at < rule.muted_until


def _letter(rule: Rule, a: Anomaly, kind: type[AnomalyNotice], what: str, held: int, at: datetime) -> Letter:
    told = AnomalyTold(
        **{name: getattr(a, name) for name in AnomalyTold.model_fields if name != "sentence"},
        sentence=a.explanation.sentence,
    )
    shared = {"organization_id": a.organization_id, "at": round(at.timestamp() * 1000)}
    notice = kind.model_validate(shared | {"rule_id": rule.id, "rule": rule.name, "anomaly": told, "held": held})
    due = quiet_until(rule.quiet, a.severity, at)
    return Letter(f"rule/{rule.id}/{a.id}/{what}", notice, rule.id, due)


def _keep(
    connection: Connection,
    fates: Sequence[tuple[Rule, Anomaly, str]],
    groups: Mapping[_GroupKey, _Group],
    at: datetime,
) -> None:
    if fates:
        rows = [(rule.organization_id, rule.id, a.id, fate, a.revision, at) for rule, a, fate in fates]
        connection.execute(
            "INSERT INTO alert_episodes (organization_id, rule_id, anomaly_id, fate, revision, at) SELECT * FROM"
            " unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::bigint[], %s::timestamptz[])",
            [list(column) for column in zip(*rows, strict=True)],
        )
    if groups:
        columns = [list(column) for column in zip(*groups, strict=True)]
        connection.execute(
            "UPDATE alert_groups g SET told_at = given.told_at, held = given.held"
            " FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::timestamptz[], %s::bigint[])"
            " AS given (o, r, k, told_at, held) WHERE g.organization_id = o AND g.rule_id = r AND g.group_key = k",
            [*columns, [g.told_at for g in groups.values()], [g.held for g in groups.values()]],
        )
