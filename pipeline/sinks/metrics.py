"""What the sinks count; units and what to do are in schemas/metrics.py."""

from pipeline.metrics import counter, gauge, histogram

RECORDS = counter("driftlock_sink_records_total")
RESCORED = counter("driftlock_sink_rescored_total")
BATCH_SECONDS = histogram("driftlock_sink_batch_seconds")
RECORD_AGE = histogram("driftlock_sink_record_age_seconds")
EVENT_TO_ANOMALY = histogram("driftlock_event_to_anomaly_seconds")
RETRIES = counter("driftlock_sink_retries_total")
LAG = gauge("driftlock_sink_lag_records")
PROGRESS = gauge("driftlock_sink_progress_timestamp_seconds")
UNITS = counter("driftlock_ledger_units_total")
