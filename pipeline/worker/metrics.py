"""What the worker counts; units and what to do are in schemas/metrics.py."""

import time
from collections.abc import Iterable

from detectors.detector import EpisodeUpdate
from pipeline.metrics import counter, gauge, histogram
from pipeline.worker.scoring import Scored
from schemas.frames import Frame
from schemas.models import BIT

FRAMES = counter("driftlock_worker_frames_total")
EVENTS = counter("driftlock_worker_events_total")
ANOMALIES = counter("driftlock_worker_anomalies_total")
UPDATES = counter("driftlock_worker_anomaly_revisions_total")
OPENED = counter("driftlock_worker_opened_total")
BITS = histogram("driftlock_worker_anomaly_bits")
BLOCK_EVENTS = histogram("driftlock_worker_block_events")
SAVED_BYTES = counter("driftlock_worker_saved_bytes_total")
INPUT_BYTES = counter("driftlock_worker_input_bytes_total")
REREAD = counter("driftlock_worker_frames_read_again_total")
OVERFLOWED = counter("driftlock_worker_organizations_over_limit_total")
OBEYED = counter("driftlock_worker_controls_total")
STREAMS = gauge("driftlock_worker_streams")
AGE = histogram("driftlock_worker_age_seconds")
PROGRESS = gauge("driftlock_worker_progress_timestamp_seconds")

LEAST_BITS, MOST_BITS = 6, 24
"""Bounds of the label bits: what lies outside is counted at the bound."""


def handled(partition: int, frame: Frame, scored: Scored, appended_at: float) -> None:
    """Count a frame that was scored and whose outputs Kafka has; `appended_at` in seconds since 1970."""
    FRAMES.inc()
    INPUT_BYTES.inc(len(frame.events.body))
    EVENTS.labels("scored").inc(sum(t.scored for t in scored.tallies.values()))
    EVENTS.labels("duplicate").inc(sum(t.duplicates for t in scored.tallies.values()))
    EVENTS.labels("skipped").inc(sum(t.skipped for t in scored.tallies.values()))
    EVENTS.labels("seeded").inc(sum(t.seeded for t in scored.tallies.values()))
    EVENTS.labels("dead_letter").inc(sum(len(f.events) for f in scored.failed))
    OBEYED.inc(scored.obeyed)
    UPDATES.inc(len(scored.updates))
    for block in frame.blocks:
        BLOCK_EVENTS.observe(block.stop - block.start)
    for tally in scored.tallies.values():
        for bits, count in tally.opened.items():
            OPENED.labels(str(min(max(bits, LEAST_BITS), MOST_BITS))).inc(count)
    _reported(update for _, update in scored.updates)
    PROGRESS.labels(str(partition)).set(appended_at)
    if len(frame):
        AGE.observe(max(0.0, time.time() - appended_at))


def _reported(updates: Iterable[EpisodeUpdate]) -> None:
    for update in updates:
        if update.revision == 1:
            ANOMALIES.labels(update.severity).inc()
            BITS.observe(update.score_bits / BIT)


def gone(partition: int) -> None:
    """A partition is another worker's now: its progress is shown there."""
    PROGRESS.remove(str(partition))
