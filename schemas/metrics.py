"""The one list of metrics: name, type, unit, labels, what is counted, and what an operator does about it.

A process shows those of what it does on /metrics, and none that is not listed (tests/pipeline/test_metrics.py). Labels are
bounded: none is an organization, a stream, a user or a text from outside. Names end in their unit, counters in _total
(Prometheus: best practices for naming).
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SLOW = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
LATENCY = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)

LABELS = {
    "answer": "HTTP status",
    "became": "what became of an event of Stripe: applied, stale, ignored, retried, dead, down",
    "bits": "6 to 23, and 24 for all above: floor of -log2 of the p-value",
    "check": "R1 to R6 of the reconciling",
    "disposition": "how units stand in the ledger: billable, included, capped and so on",
    "error": "class of an error of PostgreSQL or of ours",
    "fate": "what became of a record: written, not_anomaly, duplicate, rejected",
    "kind": "kinds of alarms (billing/alarms.py)",
    "method": "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS, other",
    "outcome": "a short list in the code that counts",
    "partition": "partition of a topic: TOPIC_PARTITIONS at most",
    "pool": "setting that names the database role",
    "reason": "classes of dead letters, a short list in pipeline/packer",
    "route": "path template of a route, or none",
    "severity": "low, medium, high, critical",
    "sink": "sink-anomalies, sink-usage",
    "state": "used, idle",
    "status": "HTTP status",
    "topic": "source topic of ours; organizations' own ones are one value",
}
"""Every label, and what bounds its values. Values of any label are at most MOST_VALUES, other than partition."""
MOST_VALUES = 150


@dataclass(frozen=True)
class Metric:
    """One metric. `name` as it is exposed (a histogram's without suffix); `todo` is what an operator does when it is bad."""

    name: str
    kind: Kind
    unit: str
    what: str
    todo: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _counter(name: str, unit: str, what: str, todo: str, *labels: str) -> Metric:
    return Metric(name, "counter", unit, what, todo, labels)


def _gauge(name: str, unit: str, what: str, todo: str, *labels: str) -> Metric:
    return Metric(name, "gauge", unit, what, todo, labels)


def _histogram(name: str, unit: str, what: str, todo: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(name, "histogram", unit, what, todo, labels, buckets)


METRICS = (
    # ---- packer
    _counter("driftlock_packer_events_total", "events", "Events written to blocks (a re-read after a restart counts again)", "0 while sources have records: see the packer's lag and its log"),
    _counter("driftlock_packer_event_bytes_total", "bytes", "Bytes of the bodies of those events", "for capacity: the table of deploy/README.md"),
    _counter("driftlock_packer_frame_bytes_total", "bytes", "Bytes of the frames written to blocks, compressed", "for capacity"),
    _counter("driftlock_packer_flushes_total", "flushes", "Flushes, each one frame to every partition of blocks", "below one in 5 s: the packer stands still"),
    _counter("driftlock_packer_dead_letters_total", "dead letters", "Dead letters by class of the reason", "read the topic dead-letters: each has its place, its reason and its bytes", "reason"),
    _gauge("driftlock_packer_lag_records", "records", "Records of the source partitions behind the log's end", "rising: add a packer (a source partition is read by one), or look at what the broker does", "topic"),
    _counter("driftlock_packer_blocked_seconds_total", "seconds", "Time without reading, waiting for acknowledgements", "above 0 for long: Kafka acknowledges more slowly than the sources deliver"),
    _gauge("driftlock_packer_flushes_in_flight", "flushes", "Flushes sent and not yet acknowledged in full", "at 16 for long: as above"),
    _counter("driftlock_packer_commit_failures_total", "commits", "Commits that Kafka refused", "they repeat work and lose nothing; many: the group is unstable"),
    _gauge("driftlock_packer_progress_timestamp_seconds", "seconds since 1970", "When the last flush was acknowledged in full", "older than a minute: the packer is stuck, restart it"),
    # ---- worker
    _counter("driftlock_worker_frames_total", "frames", "Frames scored", "for capacity"),
    _counter("driftlock_worker_events_total", "events", "Events of frames, by what became of them", "dead_letter above 0: a detector's fault, see its log and the topic dead-letters", "outcome"),
    _counter("driftlock_worker_anomalies_total", "episodes", "Reported episodes, at their first report", "for the dashboards", "severity"),
    _counter("driftlock_worker_anomaly_revisions_total", "revisions", "Revisions of anomalies sent", "for capacity"),
    _counter("driftlock_worker_opened_total", "episodes", "Internal episodes opened, by floor of -log2 of the p-value that opened them; without anomalies at most one event in 2^bits opens one", "observed above nominal for a day: run make calibration, then tell the detector's owners", "bits"),
    _histogram("driftlock_worker_anomaly_bits", "bits", "Score of reported episodes at their first report", "for the dashboards", (4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)),
    _histogram("driftlock_worker_block_events", "events", "Events of a block: a run of one stream in one frame", "near 1: streams are many and slow, or PACKER_FLUSH_MS is short", (1.0, 2.0, 5.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)),
    _counter("driftlock_worker_saved_bytes_total", "bytes", "States written to the changelog", "above 30 % of the input: raise WORKER_CHECKPOINT_SECONDS"),
    _counter("driftlock_worker_input_bytes_total", "bytes", "Bytes of events scored", "for capacity"),
    _counter("driftlock_worker_frames_read_again_total", "frames", "Frames scored again after a start or a rebalance", "many without a restart: the group is unstable"),
    _counter("driftlock_worker_organizations_over_limit_total", "organizations", "Organizations that came over their limit of streams", "the log names them; raise STREAMS_PER_ORGANIZATION or speak with them"),
    _counter("driftlock_worker_controls_total", "messages", "Control messages that were new, each once a partition", "0 while settings change: driftlock control run does not run, or the packer that owns the topic control"),
    _gauge("driftlock_worker_streams", "streams", "Streams held in memory", "for capacity: WORKER_RESIDENT_STREAMS bounds it between savings"),
    _histogram("driftlock_worker_age_seconds", "seconds", "From the broker's append of a frame to the acknowledgement of what it led to", "rising: add workers up to the partitions of blocks", SLOW),
    _gauge("driftlock_worker_progress_timestamp_seconds", "seconds since 1970", "Append time of the last frame handled; ticks come at least every 5 s", "older than a minute while the packer goes on: the worker is stuck or too slow", "partition"),
    # ---- sinks
    _counter("driftlock_sink_records_total", "records", "Records whose fate is committed", "rejected above 0: read the topic dead-letters", "sink", "fate"),
    _counter("driftlock_sink_rescored_total", "records", "Usage records booked with 0 units because their stream was billed", "a detector was upgraded or a topic replayed: look at the entries with disposition rescored"),
    _histogram("driftlock_sink_batch_seconds", "seconds", "From a batch read to its rows committed", "rising: PostgreSQL is slow", FAST, "sink"),
    _histogram("driftlock_sink_record_age_seconds", "seconds", "From the broker's append of the oldest record of a batch to its rows committed", "rising with lag: add a sink up to the partitions", SLOW, "sink"),
    _histogram("driftlock_event_to_anomaly_seconds", "seconds", "From the broker's append of the event that made an anomaly be reported to its row being written", "the SLO: p99 below 1 s; see the ages of packer, worker and sink", LATENCY),
    _counter("driftlock_sink_retries_total", "batches", "Batches tried again because PostgreSQL or Kafka did not answer", "nothing is lost while the topic's retention (14 days) outlasts it", "sink"),
    _gauge("driftlock_sink_lag_records", "records", "Records behind the log's end", "rising: PostgreSQL is slow, or a sink is missing", "sink", "partition"),
    _gauge("driftlock_sink_progress_timestamp_seconds", "seconds since 1970", "When the sink last committed a batch, or found nothing to read", "older than two minutes: it is stuck or PostgreSQL is down", "sink"),
    _counter("driftlock_ledger_units_total", "units", "Units booked in the ledger", "for the dashboards; the ledger itself counts", "disposition"),
    # ---- meter sender and reconciling
    _counter("driftlock_meter_hours_total", "hour totals", "Hour totals by what became of a request", "refused or too_old above 0: driftlock stripe read-back", "outcome"),
    _gauge("driftlock_meter_waiting_hours", "hour totals", "Hours that are over and not certain at Stripe yet", "Stripe takes 35 days: there is time, find out why"),
    _gauge("driftlock_meter_oldest_waiting_seconds", "seconds", "Age of the oldest of them", "rings from two hours on"),
    _gauge("driftlock_reconcile_differences", "totals", "Totals that differ, by check", "driftlock billing reconcile names them", "check"),
    _gauge("driftlock_reconcile_ringing", "totals", "Differences that are older than two hours", "above 0: driftlock billing reconcile; the draft invoice is held"),
    _gauge("driftlock_reconcile_timestamp_seconds", "seconds since 1970", "When totals were compared last", "older than three hours: the meter sender does not run, or Stripe is down"),
    _counter("driftlock_meter_credit_notes_total", "credit notes", "Credit notes by what became of them", "refused above 0: by hand at Stripe", "outcome"),
    _counter("driftlock_meter_failed_passes_total", "passes", "Passes that ended in an error of PostgreSQL or Stripe", "rising: the log says which", "error"),
    # ---- webhooks
    _counter("driftlock_webhook_received_total", "webhooks", "Webhooks of Stripe by how they were answered", "400: a wrong secret, or somebody else; 503: PostgreSQL is down, Stripe sends again for three days", "answer"),
    _counter("driftlock_webhook_events_total", "events", "Events of Stripe by what became of them", "dead above 0: driftlock stripe events list", "became"),
    _gauge("driftlock_webhook_waiting_events", "events", "Events that are stored and not applied yet", "rising: the applier does not run, or Stripe is down"),
    _gauge("driftlock_webhook_oldest_waiting_seconds", "seconds", "Age of the oldest of them", "rings from an hour on"),
    _gauge("driftlock_webhook_dead_events", "events", "Events that could not be applied five times", "above 0: driftlock stripe events list, then retry"),
    _gauge("driftlock_alarms_ringing", "alarms", "Alarms about money that ring now", "above 0: the e-mail to OPERATOR_EMAIL says which", "kind"),
    _counter("driftlock_webhook_failed_passes_total", "passes", "Passes that ended in an error of PostgreSQL", "rising: the log says which", "error"),
    _gauge("driftlock_webhook_resynced_timestamp_seconds", "seconds since 1970", "When the last resync ended", "older than two days: driftlock stripe resync"),
    # ---- e-mails
    _counter("driftlock_alerts_mails_total", "mails", "Rows of the outbox by what became of an attempt to mail them", "rising other than delivered: the mail server", "outcome"),
    _gauge("driftlock_alerts_waiting", "rows", "Rows of the outbox that wait for their mail", "rising: the mail server is down, or no sender runs"),
    _gauge("driftlock_alerts_oldest_waiting_seconds", "seconds", "Age of the oldest of them", "rings from an hour on"),
    _gauge("driftlock_alerts_dead", "rows", "Rows that were given up after 20 attempts", "above 0: last_error of the row says why"),
    _counter("driftlock_alerts_deliveries_total", "deliveries", "Attempts at deliveries to endpoints of tenants by outcome", "for capacity; a tenant's endpoint is the tenant's business, its log of deliveries says why", "outcome"),
    _gauge("driftlock_alerts_deliveries_waiting", "deliveries", "Deliveries to endpoints that wait", "rising: no sender runs, or many endpoints are slow"),
    _gauge("driftlock_alerts_deliveries_oldest_seconds", "seconds", "Age of the oldest of them", "a tenant's endpoint may be down for 72 hours"),
    # ---- jobs by the clock
    _gauge("driftlock_jobs_progress_timestamp_seconds", "seconds since 1970", "When the jobs were done last", "older than an hour: the process jobs does not run, or PostgreSQL is down"),
    _counter("driftlock_jobs_failed_passes_total", "passes", "Passes that ended in an error of PostgreSQL", "rising: the log says which", "error"),
    # ---- what tenants set
    _counter("driftlock_control_messages_total", "messages", "Control messages that Kafka has acknowledged", "for capacity"),
    _gauge("driftlock_control_waiting_messages", "messages", "Control messages that wait for Kafka", "above 0 for a minute: Kafka is down, or no process carries; settings are not obeyed meanwhile"),
    # ---- API and console
    _counter("driftlock_http_requests_total", "requests", "Requests answered", "5xx: the log names the error's class and line", "method", "route", "status"),
    _histogram("driftlock_http_request_seconds", "seconds", "From a request to the beginning of its answer", "rising: the pool is exhausted, or PostgreSQL is slow", FAST, "route"),
    _gauge("driftlock_http_requests_in_flight", "requests", "Requests being answered, open streams among them", "rising without end: something hangs"),
    _gauge("driftlock_pool_connections", "connections", "Connections of a database pool", "used at the pool's size: see waiting", "pool", "state"),
    _gauge("driftlock_pool_waiting", "requests", "Requests that wait for a connection", "above 0 for long: more API processes, or a slow query", "pool"),
    _gauge("driftlock_event_loop_lag_seconds", "seconds", "How much later than asked the event loop woke last", "above 0.5: something blocks the loop"),
)  # fmt: skip

BY_NAME = {metric.name: metric for metric in METRICS}


def table() -> str:
    """The list as Markdown, for deploy/metrics.md."""
    lines = [
        "# Metrics",
        "Generated by `driftlock generate` from `schemas/metrics.py`. Beside these each process shows Python's own: `process_*`,",
        "`python_gc_*` (memory, processor time, open files, garbage collection).",
        "",
        "| metric | type | unit | labels | what | what to do |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| `{m.name}` | {m.kind} | {m.unit} | {', '.join(m.labels)} | {m.what} | {m.todo} |" for m in METRICS]
    lines += ["", "| label | its values |", "|---|---|", *(f"| {name} | {what} |" for name, what in LABELS.items()), ""]
    return "\n".join(lines)
