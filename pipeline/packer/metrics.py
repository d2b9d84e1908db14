"""What the packer counts. Each name says its unit; the comment says what to do about it."""

from prometheus_client import Counter, Gauge

EVENTS = Counter("driftlock_packer_events_total", "Events written to blocks (a re-read after a restart counts again)")
BYTES = Counter("driftlock_packer_event_bytes_total", "Bytes of the bodies of those events")
FRAME_BYTES = Counter("driftlock_packer_frame_bytes_total", "Bytes of the frames written to blocks, compressed")
FLUSHES = Counter("driftlock_packer_flushes_total", "Flushes, each one frame to every partition of blocks")
# Look at the topic dead-letters: each says its place, its reason and holds its bytes.
DEAD_LETTERS = Counter("driftlock_packer_dead_letters_total", "Dead letters by class of the reason", ["reason"])
# Rising: add a packer (a source partition is read by one) or look at what the broker does.
LAG = Gauge("driftlock_packer_lag_records", "Records of the source partitions behind the log's end", ["topic"])
# Above zero for long: Kafka acknowledges more slowly than the sources deliver.
BLOCKED = Counter("driftlock_packer_blocked_seconds_total", "Seconds without reading, waiting for acknowledgements")
IN_FLIGHT = Gauge("driftlock_packer_flushes_in_flight", "Flushes sent and not yet acknowledged in full")
# Failed commits repeat work and lose nothing; many of them mean that the group is unstable.
COMMIT_FAILURES = Counter("driftlock_packer_commit_failures_total", "Commits that Kafka refused")
