"""What the packer counts; units and what to do are in schemas/metrics.py."""

from pipeline.metrics import counter, gauge

EVENTS = counter("driftlock_packer_events_total")
BYTES = counter("driftlock_packer_event_bytes_total")
FRAME_BYTES = counter("driftlock_packer_frame_bytes_total")
FLUSHES = counter("driftlock_packer_flushes_total")
DEAD_LETTERS = counter("driftlock_packer_dead_letters_total")
LAG = gauge("driftlock_packer_lag_records")
BLOCKED = counter("driftlock_packer_blocked_seconds_total")
IN_FLIGHT = gauge("driftlock_packer_flushes_in_flight")
COMMIT_FAILURES = counter("driftlock_packer_commit_failures_total")
PROGRESS = gauge("driftlock_packer_progress_timestamp_seconds")
