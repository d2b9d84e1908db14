"""The service levels: what is left of their budgets, and what burns them."""

from dashboards.alerts.slo import LEVELS
from dashboards.grafana.panels import Board, Panel, Query, age, quantile

_LEVELS = tuple(
    panel
    for level in LEVELS
    for panel in (
        Panel(f"{level.name}: kept", f"{level.what}.", (Query(f"1 - {level.recorded('3d')}", "over 3 days"),), "percentunit", "stat", 6),
        Panel(f"{level.name}: budget burned", "1 is what a month allows; above 14.4 over an hour somebody is rung.", tuple(
            Query(f"{level.recorded(window)} / {1 - level.objective:.6g}", window) for window in ("5m", "1h", "6h", "3d")
        ), width=18),
    )
)  # fmt: skip

BOARD = Board(
    "driftlock-slo",
    "DriftLock: service levels",
    "Objectives, burn rates, what rings.",
    (
        *_LEVELS,
        Panel("From an event to its anomaly", "99 %, and where it waits.", (
            Query(quantile(0.99, "driftlock_event_to_anomaly_seconds"), "in all"),
            Query(quantile(0.99, "driftlock_worker_age_seconds"), "frame until acknowledged"),
            Query(quantile(0.99, "driftlock_sink_record_age_seconds", "sink"), "{{sink}}"),
        ), "s"),
        Panel("Nothing lost, nothing twice", "0 each: totals that differ, records of ours that were refused, alarms.", (
            Query("max(driftlock_reconcile_ringing)", "differences"),
            Query('sum(increase(driftlock_worker_events_total{outcome="dead_letter"}[$__range]))', "not scored"),
            Query("sum(driftlock_alarms_ringing) or vector(0)", "alarms"),
            Query(age("driftlock_reconcile_timestamp_seconds"), "seconds since compared"),
        ), kind="stat"),
        Panel("Rings now", "", (Query('sum by (alertname, severity) (ALERTS{alertstate="firing"}) or vector(0)', "{{alertname}} {{severity}}"),), kind="table", width=24),
    ),
)  # fmt: skip
