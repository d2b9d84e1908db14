"""Money of all organizations: units, totals on their way to Stripe, what differs, Stripe's events, mails."""

from dashboards.grafana.panels import Board, Panel, Query, age, rate, zero

BOARD = Board(
    "driftlock-billing",
    "DriftLock: billing",
    "Ledger, meter sender, reconciling, webhooks, e-mails.",
    (
        Panel("Units booked", "An hour, by how they stand in the ledger.", (Query(f"3600 * {rate('driftlock_ledger_units_total', 'disposition')}", "{{disposition}}"),)),
        Panel("Rescored", "0, unless a topic was replayed or a detector upgraded.", (Query("sum(driftlock_sink_rescored_total)", "records"),), kind="stat"),
        Panel("Totals that differ", "By check, R1 to R6; 0 each.", (
            Query("max by (check) (driftlock_reconcile_differences)", "{{check}}"),
            Query("max(driftlock_reconcile_ringing)", "for over two hours"),
        ), kind="stat"),
        Panel("Hours that wait for Stripe", "", (Query("max(driftlock_meter_waiting_hours)", "totals"),), kind="stat", width=6),
        Panel("The oldest of them", "Rings from two hours on.", (Query("max(driftlock_meter_oldest_waiting_seconds)", "age"),), "s", kind="stat", width=6),
        Panel("Totals sent", "By outcome; refused, too_old: 0.", (Query(rate("driftlock_meter_hours_total", "outcome"), "{{outcome}}"),), "ops"),
        Panel("Time since", "Reconciled hourly, resynced nightly, jobs every ten minutes.", (
            Query(age("driftlock_reconcile_timestamp_seconds"), "reconciled"),
            Query(age("driftlock_jobs_progress_timestamp_seconds"), "jobs done"),
            Query(zero(age("driftlock_webhook_resynced_timestamp_seconds")), "resynced"),
        ), "s"),
        Panel("Alarms about money", "0. By kind.", (Query(zero("sum by (kind) (driftlock_alarms_ringing)"), "{{kind}}"),), kind="stat"),
        Panel("Credit notes", "By outcome.", (Query(zero("sum by (outcome) (driftlock_meter_credit_notes_total)"), "{{outcome}}"),), kind="stat"),
        Panel("Webhooks received", "By HTTP status.", (Query(zero(rate("driftlock_webhook_received_total", "answer")), "{{answer}}"),), "ops"),
        Panel("Events of Stripe", "By what became of them, and those that wait.", (
            Query(zero(rate("driftlock_webhook_events_total", "became")), "{{became}}"),
            Query("max(driftlock_webhook_waiting_events)", "waiting"),
            Query("max(driftlock_webhook_dead_events)", "dead"),
        )),
        Panel("The oldest event of Stripe that waits", "Rings from an hour on.", (Query("max(driftlock_webhook_oldest_waiting_seconds)", "age"),), "s", kind="stat"),
        Panel("E-mails", "Waiting, given up, sent.", (
            Query("max(driftlock_alerts_waiting)", "waiting"),
            Query("max(driftlock_alerts_dead)", "given up"),
            Query("max(driftlock_alerts_oldest_waiting_seconds)", "age of the oldest, s"),
            Query(zero(rate("driftlock_alerts_mails_total", "outcome")), "{{outcome}}"),
        )),
        Panel("Passes that failed", "By error: PostgreSQL or Stripe does not answer.", (
            Query(zero(rate("driftlock_meter_failed_passes_total", "error")), "meter {{error}}"),
            Query(zero(rate("driftlock_webhook_failed_passes_total", "error")), "webhooks {{error}}"),
            Query(zero(rate("driftlock_jobs_failed_passes_total", "error")), "jobs {{error}}"),
        ), "ops"),
    ),
)  # fmt: skip
