"""The list of alert rules: what rings, when, what it means and what to do."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "warning"]


@dataclass(frozen=True)
class Alert:
    """One rule. `expr` is PromQL and must hold for `minutes`; `summary` may use Prometheus' templates; `do` is Markdown."""

    name: str
    severity: Severity
    minutes: int
    expr: str
    summary: str
    means: str
    do: str


_PACKER_GOES_ON = "on() (time() - max(driftlock_packer_progress_timestamp_seconds) < 30)"

PROCESSES = (
    Alert("ProcessDown", "critical", 2, "up == 0", "{{ $labels.job }} does not answer at {{ $labels.instance }}",
          "A process does not answer its /metrics: it is dead, or ends again and again. Nothing is lost while topics keep what is not read (14 days).",
          "`docker compose ps`, then `docker compose logs --tail 50 NAME` (Kubernetes: `kubectl logs deploy/driftlock-NAME --previous`). A process of ours that ends says why in its last line, `driftlock: ...`, with the command that helps; it starts again by itself."),
    Alert("ProcessRestarts", "warning", 0, "changes(process_start_time_seconds[30m]) > 3", "{{ $labels.job }} started {{ $value }} times in half an hour",
          "A process ends and is started again.", "As ProcessDown: its last line says why."),
    Alert("EventLoopBlocked", "warning", 5, "driftlock_event_loop_lag_seconds > 0.5", "{{ $labels.job }}: the event loop is {{ $value }} s late",
          "Something holds the event loop: requests wait, heartbeats are late.", "Look at processor time (`process_cpu_seconds_total`): a machine that is full looks like this too. Then more processes, or a report to us with the log."),
    Alert("FilesExhausted", "warning", 5, "process_open_fds / process_max_fds > 0.8", "{{ $labels.job }} has {{ $value | humanizePercentage }} of its files open",
          "Connections or files are opened and not closed, or there are very many streams of the API.", "Raise the limit (`ulimit -n`, LimitNOFILE), start the process again; a number that rises without end is a fault of ours."),
)  # fmt: skip

FLOW = (
    Alert("PackerStuck", "critical", 1, "time() - max(driftlock_packer_progress_timestamp_seconds) > 60", "no flush was acknowledged for {{ $value | humanizeDuration }}",
          "The packer flushes at least every 5 s, with or without events. Now it does not, or Kafka does not acknowledge.",
          "Is Kafka up? `driftlock topics check`. Then the packer's /readyz and log; `docker compose restart packer` is safe at any time: what was not committed is read again, and counted once."),
    Alert("PackerFallsBehind", "warning", 10, "sum by (topic) (driftlock_packer_lag_records) > 10000 and sum by (topic) (deriv(driftlock_packer_lag_records[10m])) > 0", "{{ $labels.topic }}: {{ $value }} records behind, and more",
          "More comes than is packed.", "More packers, up to the source partitions (`docker compose up -d --scale packer=2`); or Kafka is slow: PackerBlocked rings too."),
    Alert("PackerBlocked", "warning", 10, "sum(rate(driftlock_packer_blocked_seconds_total[5m])) > 0.5", "the packer waits for Kafka half of the time",
          "Kafka acknowledges more slowly than sources deliver.", "Look at Kafka's disks and network; `driftlock topics check`."),
    Alert("WorkerStuck", "critical", 2, f"time() - max by (partition) (driftlock_worker_progress_timestamp_seconds) > 60 and {_PACKER_GOES_ON}", "partition {{ $labels.partition }} of blocks stands still for {{ $value | humanizeDuration }}",
          "Frames come (ticks at least every 5 s) and one partition's are not handled: its worker is stuck, is far too slow, or no worker has it.",
          "The worker's /readyz and log; `docker compose restart worker` is safe: it goes on from what was saved. Right after a start or a rebalance it reads frames again, for at most a minute."),
    Alert("WorkerSlow", "warning", 10, "histogram_quantile(0.99, sum by (le) (rate(driftlock_worker_age_seconds_bucket[5m]))) > 10", "a frame waits {{ $value }} s until it is scored (p99)",
          "Workers can't keep up.", "More workers, up to the partitions of blocks (TOPIC_PARTITIONS). One stream is scored by one worker: see the capacity table in `deploy/README.md`."),
    Alert("NothingScored", "critical", 5, "sum(rate(driftlock_packer_events_total[5m])) > 0 and sum(rate(driftlock_worker_events_total[5m])) == 0", "events come and none is scored",
          "Workers answer and score nothing.", "As WorkerStuck. `driftlock topics check`: blocks may have been made again."),
    Alert("SinkStuck", "critical", 1, "time() - max by (sink) (driftlock_sink_progress_timestamp_seconds) > 120", "{{ $labels.sink }} has written nothing for {{ $value | humanizeDuration }}",
          "A batch is read and can't be written: most often PostgreSQL is down, full or locked. Nothing is lost: offsets move with the rows.",
          "`docker compose ps postgres`; disk space; the sink's /readyz says what PostgreSQL says. It goes on by itself when PostgreSQL does."),
    Alert("SinkFallsBehind", "warning", 10, "sum by (sink) (driftlock_sink_lag_records) > 5000 and sum by (sink) (deriv(driftlock_sink_lag_records[10m])) > 0", "{{ $labels.sink }}: {{ $value }} records behind, and more",
          "More comes than is written.", "PostgreSQL is slow (`driftlock_sink_batch_seconds`), or a second sink is needed (up to the partitions of its topic)."),
    Alert("SinkRetries", "warning", 5, "sum by (sink) (increase(driftlock_sink_retries_total[5m])) > 3", "{{ $labels.sink }} tries again and again",
          "PostgreSQL or Kafka does not answer now and then.", "The sink's log says which. SinkStuck rings where it lasts."),
    Alert("DeadLetters", "warning", 15, "sum(increase(driftlock_packer_dead_letters_total[15m])) > 0.01 * sum(increase(driftlock_packer_events_total[15m])) + 10", "{{ $value }} dead letters in 15 minutes",
          "More than one in a hundred of what is sent can't become an event.", "`sum by (reason) (increase(driftlock_packer_dead_letters_total[15m]))`, then read the topic `dead-letters`: each has its place, its reason and its bytes. Tell the sender."),
    Alert("OurDeadLetters", "critical", 0, 'sum(increase(driftlock_worker_events_total{outcome="dead_letter"}[1h])) > 0 or sum(increase(driftlock_sink_records_total{fate="rejected"}[1h])) > 0', "{{ $value }} records that we made ourselves became dead letters",
          "An event that could not be scored, or a message of ours that did not fit: a fault of ours, or two releases that don't fit together.",
          "Keep the topic `dead-letters`. The log names the error. What could not be scored is not billed; what a sink rejected may have to be: tell us."),
    Alert("StreamsOverLimit", "warning", 0, "sum(increase(driftlock_worker_organizations_over_limit_total[1h])) > 0", "an organization has more streams than its limit",
          "Its streams above STREAMS_PER_ORGANIZATION are scored as one, `other`, and badly.", "The worker's log names it. Most often a stream's name holds a request's id: speak with them."),
)  # fmt: skip

DETECTION = (
    Alert("FalseAlarmsAboveNominal", "warning", 60, 'sum(increase(driftlock_worker_opened_total{bits=~"1[0-9]|2[0-4]"}[1d])) > 3 * sum(increase(driftlock_worker_events_total{outcome="scored"}[1d])) / 1024 + 50', "{{ $value }} episodes of p up to 1/1024 in a day, over three times nominal",
          "Without anomalies at most one event in 1,024 opens an episode at that level. So either much is wrong with what is watched, or p-values are.",
          "Look at the dashboard Detection: which severities, and (SQL) whose. Where nobody sees a fault: `make calibration`, and tell the detector's owners."),
)  # fmt: skip

BILLING = (
    Alert("HoursWait", "warning", 10, "driftlock_meter_oldest_waiting_seconds > 7200", "an hour's total waits for {{ $value | humanizeDuration }}",
          "Stripe has not got an hour that is over. It takes totals for 35 days: there is time.", "The meter's log: Stripe down, a wrong key, an unlinked customer? `driftlock meter run --once` says how many wait. Once Stripe answers they are sent within 15 minutes, and the alert ends when they were read back twice, 11 minutes later."),
    Alert("HoursWaitLong", "critical", 10, "driftlock_meter_oldest_waiting_seconds > 604800", "an hour's total waits for {{ $value | humanizeDuration }}",
          "After 35 days Stripe takes it no more, and it has to be billed by hand.", "As HoursWait, today. `driftlock stripe read-back` shows what Stripe has."),
    Alert("HoursRefused", "critical", 0, 'sum(increase(driftlock_meter_hours_total{outcome=~"refused|too_old"}[1h])) > 0', "Stripe refuses {{ $value }} totals",
          "Stripe answered that a total is wrong, or too old.", "The meter's log has Stripe's words. `driftlock stripe read-back`, then `driftlock billing reconcile`."),
    Alert("BillingDiffers", "critical", 5, "driftlock_reconcile_ringing > 0", "{{ $value }} totals differ for over two hours",
          "Kafka, ledger, rollup, hours, Stripe or invoice do not agree. The organization's draft invoice is held.", "`driftlock billing reconcile` names them; billing/README.md says what each of R1 to R6 means. Never correct Stripe by hand before the ledger is known to be right: `driftlock ledger verify`."),
    Alert("ReconcileOld", "warning", 10, "time() - (driftlock_reconcile_timestamp_seconds > 0) > 10800", "totals were last compared {{ $value | humanizeDuration }} ago",
          "The hourly comparison is not made.", "It is made by the meter sender when Stripe answers: see its log."),
    Alert("MoneyAlarm", "critical", 5, "sum by (kind) (driftlock_alarms_ringing) > 0", "{{ $value }} alarms of the kind {{ $labels.kind }}",
          "An alarm about money (the table in billing/alarms.py), which was also mailed to OPERATOR_EMAIL.", "The mail says which. `driftlock billing reconcile`, `driftlock stripe events list`, `driftlock billing restored` by kind."),
    Alert("PassesFail", "warning", 5, "sum by (error) (increase(driftlock_meter_failed_passes_total[15m]) or increase(driftlock_webhook_failed_passes_total[15m]) or increase(driftlock_jobs_failed_passes_total[15m])) > 5", "passes over money fail: {{ $labels.error }}",
          "Meter sender, webhook applier or jobs can't do a pass: PostgreSQL or Stripe does not answer.", "Their logs. They wait longer each time and go on by themselves."),
    Alert("JobsOld", "warning", 5, "time() - (driftlock_jobs_progress_timestamp_seconds > 0) > 3600", "periods were last rolled on {{ $value | humanizeDuration }} ago",
          "Billing's jobs are not done. A unit makes its period itself; only what is shown of a new month waits.", "The log of jobs."),
    Alert("WebhooksWait", "warning", 10, "driftlock_webhook_oldest_waiting_seconds > 3600", "an event of Stripe waits for {{ $value | humanizeDuration }}",
          "Stripe's events are stored and not applied: plans and payments are not known here.", "The applier's log. `driftlock stripe events list`."),
    Alert("WebhookDead", "critical", 0, "driftlock_webhook_dead_events > 0", "{{ $value }} events of Stripe could not be applied",
          "An event failed five times.", "`driftlock stripe events list` says why; mend it, then `driftlock stripe events retry`."),
    Alert("WebhooksRefused", "warning", 0, 'sum(increase(driftlock_webhook_received_total{answer="400"}[15m])) > 5', "{{ $value }} webhooks were refused",
          "Signatures don't fit: a secret was rotated at Stripe and not here, or somebody else sends.", "STRIPE_WEBHOOK_SECRETS takes several while rotating. Stripe sends again for three days, and `driftlock stripe resync` gets what was missed."),
    Alert("ResyncOld", "warning", 10, "time() - (driftlock_webhook_resynced_timestamp_seconds > 0) > 172800", "the last resync with Stripe was {{ $value | humanizeDuration }} ago",
          "The nightly comparison with Stripe fails.", "`driftlock stripe resync` says why."),
    Alert("ControlWaits", "warning", 1, "max(driftlock_control_waiting_messages) > 0", "{{ $value }} changed settings have not reached Kafka for a minute",
          "What tenants set (sensitivity, mutes, feedback) is stored and not obeyed: Kafka does not acknowledge, or no process carries it.", "The log of control; `driftlock control run` may be started on any machine, one at a time carries."),
    Alert("MailsWait", "warning", 10, "driftlock_alerts_oldest_waiting_seconds > 3600", "a mail waits for {{ $value | humanizeDuration }}",
          "The mail server does not take our mails.", "SMTP_* settings, or the server; then `driftlock alerts run --once --now`, which waits for no later attempt."),
    Alert("MailsDead", "warning", 0, "driftlock_alerts_dead > 0", "{{ $value }} mails were given up",
          "A mail was refused 20 times.", "`SELECT kind, last_error FROM outbox WHERE delivered_at IS NULL` as the owner of the schema: a wrong address, most often (`driftlock billing email`)."),
    Alert("Rescored", "warning", 0, "sum(increase(driftlock_sink_rescored_total[1h])) > 0", "{{ $value }} records came again for what was billed",
          "A topic was replayed or a detector upgraded while its state was not drained; nothing is billed twice.", "Was it meant? Else look at the ledger's entries with disposition `rescored`."),
)  # fmt: skip

API = (
    Alert("ApiSlow", "warning", 10, 'histogram_quantile(0.99, sum by (le) (rate(driftlock_http_request_seconds_bucket{job="api"}[5m]))) > 1', "the API answers within {{ $value }} s (p99)",
          "Requests wait.", "PoolExhausted rings too: more API processes or a slow query; else EventLoopBlocked."),
    Alert("PoolExhausted", "warning", 2, "driftlock_pool_waiting > 0", "{{ $value }} requests wait for a connection of {{ $labels.pool }}",
          "All connections of a pool are used.", "More API processes (PostgreSQL's max_connections allows 8 for each pool of each), or a slow query: `SELECT query, state, now() - query_start FROM pg_stat_activity`."),
)  # fmt: skip

ALERTS = {"processes": PROCESSES, "flow": FLOW, "detection": DETECTION, "billing": BILLING, "api": API}
"""Group → its rules."""
