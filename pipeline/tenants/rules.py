"""Rules by which an organization's anomalies are told. Connections are of role driftlock_api, in autocommit mode."""

from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any, get_args
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import psycopg

from billing import actions
from billing.tenant import tenant
from pipeline.accounts import texts
from pipeline.accounts.errors import Invalid, NotFound
from pipeline.alerts.rules import SEVERITIES, Group
from schemas.models import Severity

Connection = psycopg.Connection[Any]

MOST_RULES, MOST_KINDS = 50, 20
LONGEST_COOLDOWN = 604_800
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_SET = (
    "name", "enabled", "min_severity", "stream_pattern", "kinds", "updates", "recovery", "group_by", "cooldown_seconds",
    "quiet_from", "quiet_until", "quiet_zone", "quiet_below", "muted_until", "endpoint_ids",
)  # fmt: skip
_COLUMNS = f"id, {', '.join(_SET)}, created_by, created_at"


@dataclass(frozen=True)
class RuleSettings:
    """What a rule says: see pipeline.alerts.rules. Quiet hours: all three of from, until and zone, or none."""

    name: str
    endpoint_ids: tuple[UUID, ...]
    enabled: bool = True
    min_severity: Severity = "low"
    stream_pattern: str = "*"
    kinds: tuple[str, ...] = ()
    updates: bool = False
    recovery: bool = False
    group_by: Group = "stream"
    cooldown_seconds: int = 0
    quiet_from: time | None = None
    quiet_until: time | None = None
    quiet_zone: str | None = None
    quiet_below: Severity | None = None
    muted_until: datetime | None = None


@dataclass(frozen=True)
class StoredRule:
    """A rule as it is. `held`: episodes that its cooldowns hold back since their groups were last told."""

    id: UUID
    settings: RuleSettings
    created_by: str
    created_at: datetime
    held: int


def list_rules(connection: Connection, organization_id: UUID) -> list[StoredRule]:
    """All rules that were not removed, the oldest first."""
    with tenant(connection, organization_id):
        return _read(connection, organization_id, None)


def get_rule(connection: Connection, organization_id: UUID, rule_id: UUID) -> StoredRule:
    """One rule. `NotFound`."""
    with tenant(connection, organization_id):
        return _get(connection, organization_id, rule_id)


def create_rule(
    connection: Connection, organization_id: UUID, wanted: RuleSettings, *, by: str, at: datetime
) -> StoredRule:
    """A new rule. `Invalid`."""
    with tenant(connection, organization_id):
        values = _checked(connection, organization_id, wanted)
        connection.execute("SELECT 1 FROM organizations WHERE id = %s FOR NO KEY UPDATE", (organization_id,))
        if len(_read(connection, organization_id, None)) >= MOST_RULES:
            raise Invalid(f"an organization has at most {MOST_RULES} rules: remove one")
        id_ = uuid4()
        connection.execute(
            f"INSERT INTO alert_rules (organization_id, id, created_by, created_at, {', '.join(_SET)})"  # noqa: S608
            f" VALUES (%s, %s, %s, %s, {', '.join(['%s'] * len(_SET))})",
            (organization_id, id_, by, at, *values),
        )
        made = _get(connection, organization_id, id_)
        _record(connection, organization_id, by, "rule.create", None, made, at)
        return made


def set_rule(
    connection: Connection, organization_id: UUID, rule_id: UUID, wanted: RuleSettings, *, by: str, at: datetime
) -> StoredRule:
    """Set all of a rule; it holds for what the sink writes from then on. `NotFound`, `Invalid`."""
    with tenant(connection, organization_id):
        before = _get(connection, organization_id, rule_id)
        values = _checked(connection, organization_id, wanted)
        connection.execute(
            f"UPDATE alert_rules SET {', '.join(f'{name} = %s' for name in _SET)} WHERE organization_id = %s AND id = %s",  # noqa: S608
            (*values, organization_id, rule_id),
        )
        after = _get(connection, organization_id, rule_id)
        _record(connection, organization_id, by, "rule.set", before, after, at)
        return after


def remove_rule(connection: Connection, organization_id: UUID, rule_id: UUID, *, by: str, at: datetime) -> None:
    """Remove a rule. `NotFound`."""
    with tenant(connection, organization_id):
        before = _get(connection, organization_id, rule_id)
        connection.execute(
            "UPDATE alert_rules SET deleted_at = %s WHERE organization_id = %s AND id = %s",
            (at, organization_id, rule_id),
        )
        _record(connection, organization_id, by, "rule.remove", before, None, at)


def _checked(connection: Connection, organization_id: UUID, wanted: RuleSettings) -> list[Any]:
    """The values of `_SET`. `Invalid` says which does not fit."""
    name = texts.line(wanted.name, "name", 100)
    pattern = texts.line(wanted.stream_pattern, "stream_pattern", 128)
    if wanted.min_severity not in SEVERITIES or wanted.quiet_below not in (None, *SEVERITIES):
        raise Invalid(f"a severity must be one of {', '.join(SEVERITIES)}")
    if wanted.group_by not in get_args(Group):
        raise Invalid(f"group_by must be one of {', '.join(get_args(Group))}")
    if not 0 <= wanted.cooldown_seconds <= LONGEST_COOLDOWN:
        raise Invalid(f"cooldown_seconds must be 0 to {LONGEST_COOLDOWN}")
    if len(wanted.kinds) > MOST_KINDS:
        raise Invalid(f"at most {MOST_KINDS} kinds")
    kinds = [texts.line(kind, "a kind", 64) for kind in wanted.kinds]
    hours = (wanted.quiet_from, wanted.quiet_until, wanted.quiet_zone)
    if len({given is None for given in hours}) != 1:
        raise Invalid("quiet_from, quiet_until and quiet_zone are given together, or none of them")
    if wanted.quiet_zone is not None:
        _require_zone(wanted.quiet_zone)
    if any(hour is not None and hour.tzinfo is not None for hour in (wanted.quiet_from, wanted.quiet_until)):
        raise Invalid("quiet_from and quiet_until are times of day of quiet_zone, without an offset")
    until = wanted.muted_until
    if until is not None and (until.tzinfo is None or not _FIRST <= until <= _LAST):
        raise Invalid("muted_until must be a time with its zone, between the years 2000 and 2100")
    values = {field: getattr(wanted, field) for field in _SET}
    endpoints = _known(connection, organization_id, wanted.endpoint_ids)
    values |= {"name": name, "stream_pattern": pattern, "kinds": kinds, "endpoint_ids": endpoints}
    return [values[field] for field in _SET]


def _require_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise Invalid("quiet_zone must be a time zone such as Europe/Berlin") from error


def _known(connection: Connection, organization_id: UUID, asked: tuple[UUID, ...]) -> list[UUID]:
    rows = connection.execute(
        "SELECT id FROM alert_endpoints WHERE organization_id = %s AND id = ANY(%s) AND deleted_at IS NULL ORDER BY id",
        (organization_id, list(asked)),
    )
    found = [id_ for (id_,) in rows]
    if not found or set(found) != set(asked):
        raise Invalid("endpoint_ids must name endpoints of the organization, at least one")
    return found


def _read(connection: Connection, organization_id: UUID, one: UUID | None) -> list[StoredRule]:
    rows = connection.execute(
        f"SELECT {_COLUMNS}, coalesce((SELECT sum(held) FROM alert_groups g WHERE g.organization_id = r.organization_id"  # noqa: S608
        " AND g.rule_id = r.id), 0)::bigint FROM alert_rules r"
        " WHERE organization_id = %s AND (%s::uuid IS NULL OR id = %s) AND deleted_at IS NULL ORDER BY created_at, id",
        (organization_id, one, one),
    )
    return [_stored(row) for row in rows]


def _stored(row: tuple[Any, ...]) -> StoredRule:
    said = dict(zip(_SET, row[1 : 1 + len(_SET)], strict=True))
    said |= {"kinds": tuple(said["kinds"]), "endpoint_ids": tuple(said["endpoint_ids"])}
    return StoredRule(row[0], RuleSettings(**said), *row[1 + len(_SET) :])


def _get(connection: Connection, organization_id: UUID, rule_id: UUID) -> StoredRule:
    found = _read(connection, organization_id, rule_id)
    if not found:
        raise NotFound("there is no such rule")
    return found[0]


def _record(
    connection: Connection,
    organization_id: UUID,
    by: str,
    action: str,
    before: StoredRule | None,
    after: StoredRule | None,
    at: datetime,
) -> None:
    actions.record(
        connection, organization_id, actor=by, action=action, before=_state(before), after=_state(after), at=at
    )


def _state(rule: StoredRule | None) -> dict[str, Any] | None:
    if rule is None:
        return None
    plain: dict[str, Any] = {"id": str(rule.id)}
    for field in _SET:
        value = getattr(rule.settings, field)
        if isinstance(value, tuple):
            plain[field] = [str(item) for item in value]
        else:
            plain[field] = value if value is None or isinstance(value, bool | int) else str(value)
    return plain
