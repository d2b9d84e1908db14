"""One organization, from PostgreSQL as driftlock_reader."""

from dashboards.grafana.panels import Board, Panel, Query

# The organization is set before the rest is looked at, because the rest depends on it (LATERAL, OFFSET 0 keeps it so): the
# policies of row-level security then show its rows, and without it none.
_AS_TENANT = (
    "WITH tenant AS MATERIALIZED (SELECT set_config('driftlock.organization_id', ${organization:sqlstring}, true) AS id)\n"
    "SELECT found.* FROM tenant CROSS JOIN LATERAL (\n%s\nOFFSET 0) AS found WHERE tenant.id <> ''"
)


def _sql(text: str) -> Query:
    """`text` selects rows of one organization; it must name tenant.id, on which its reading depends."""
    return Query(_AS_TENANT % text)


def _panel(title: str, what: str, text: str, unit: str = "short", kind: str = "timeseries", width: int = 12) -> Panel:
    assert kind in {"timeseries", "table", "stat", "bargauge"}  # noqa: S101
    return Panel(title, what, (_sql(text),), unit, kind, width, "postgres")  # type: ignore[arg-type]


BOARD = Board(
    "driftlock-tenant",
    "DriftLock: one organization",
    "Anomalies, usage and money of one organization.",
    (
        _panel("Plan", "", "SELECT o.name, s.plan, s.status FROM organizations o LEFT JOIN subscriptions s ON s.organization_id = o.id WHERE o.id = tenant.id::uuid", kind="table", width=8),
        _panel("This period", "Units by how they stand in the ledger.",
            "SELECT sum(billable)::bigint AS billable, sum(capped)::bigint AS capped, sum(warmup)::bigint AS warmup, sum(waived)::bigint AS waived,"
            " sum(scored_events)::bigint AS events FROM usage_counters WHERE organization_id = tenant.id::uuid"
            " AND period_start = (SELECT max(period_start) FROM usage_counters WHERE organization_id = tenant.id::uuid)", kind="table", width=16),
        _panel("Anomalies", "By severity, an hour.",
            "SELECT $__timeGroup(created_at, '1h') AS time, severity AS metric, count(*) AS value FROM anomalies"
            " WHERE organization_id = tenant.id::uuid AND $__timeFilter(created_at) GROUP BY 1, 2 ORDER BY 1"),
        _panel("Anomalies by stream", "The 20 with most.",
            "SELECT stream, count(*) AS anomalies, max(severity) FILTER (WHERE severity = 'critical') AS critical, max(last_at) AS last FROM anomalies"
            " WHERE organization_id = tenant.id::uuid AND $__timeFilter(created_at) GROUP BY stream ORDER BY 2 DESC LIMIT 20", kind="table"),
        _panel("The latest", "What and why, in a sentence.",
            "SELECT created_at, stream, severity, kind, count, open, calibrated, explanation->>'sentence' AS why FROM anomalies"
            " WHERE organization_id = tenant.id::uuid AND $__timeFilter(created_at) ORDER BY created_at DESC LIMIT 50", kind="table", width=24),
        _panel("Events scored", "A day; never billed.",
            "SELECT day::timestamptz AS time, sum(scored_events)::bigint AS scored, sum(duplicate_events)::bigint AS duplicates FROM usage_counters"
            " WHERE organization_id = tenant.id::uuid GROUP BY 1 ORDER BY 1"),
        _panel("Units", "A day.",
            "SELECT day::timestamptz AS time, sum(billable)::bigint AS billable, sum(capped)::bigint AS capped, sum(warmup)::bigint AS warmup"
            " FROM usage_counters WHERE organization_id = tenant.id::uuid GROUP BY 1 ORDER BY 1"),
        _panel("Ledger", "By kind and disposition, in the range shown.",
            "SELECT kind, disposition, count(*) AS entries, sum(units)::bigint AS units FROM ledger"
            " WHERE organization_id = tenant.id::uuid AND $__timeFilter(occurred_at) GROUP BY 1, 2 ORDER BY 1, 2", kind="table"),
        _panel("Periods", "", "SELECT starts_at, ends_at, plan FROM billing_periods WHERE organization_id = tenant.id::uuid ORDER BY starts_at DESC LIMIT 12", kind="table"),
    ),
    variables=(("organization", "organization (its id)"),),
)  # fmt: skip
