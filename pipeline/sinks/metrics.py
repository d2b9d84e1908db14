"""What the sinks count. Each name says its unit; the comment says what to do about it."""

from prometheus_client import Counter, Gauge, Histogram

RECORDS = Counter("driftlock_sink_records_total", "Records whose fate is committed", ["sink", "fate"])
# Above zero: a detector was upgraded or a topic replayed, and the ledger refused to bill what was billed. Look at the
# entries with disposition `rescored`.
RESCORED = Counter("driftlock_sink_rescored_total", "Usage records booked with 0 units because their stream was billed")
BATCH_SECONDS = Histogram("driftlock_sink_batch_seconds", "Seconds from a batch read to its rows committed", ["sink"])
# Rising for minutes: PostgreSQL is down or slow; nothing is lost while the topic's retention (14 days) outlasts it.
RETRIES = Counter(
    "driftlock_sink_retries_total", "Batches tried again because PostgreSQL or Kafka did not answer", ["sink"]
)
LAG = Gauge("driftlock_sink_lag_records", "Records behind the log's end", ["sink", "partition"])
