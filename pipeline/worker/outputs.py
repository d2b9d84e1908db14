"""What a scored frame says to the topics `anomalies`, `usage` and `dead-letters`: the same frame, the same bytes."""

import base64
from dataclasses import asdict, dataclass
from uuid import UUID

import numpy as np

from detectors.detector import DETECTOR_VERSION, EpisodeUpdate
from pipeline.worker.partition import Partition
from pipeline.worker.reference import Reference
from pipeline.worker.scoring import Failed, Scored
from schemas.frames import Block, Frame
from schemas.identity import anomaly_id, dead_letter_id, scored_usage_id
from schemas.models import (
    Anomaly,
    AnomalyUsage,
    DeadLetter,
    Explanation,
    Position,
    ScoredUsage,
    StreamStanding,
    TokenEvidence,
    WindowMetrics,
)
from schemas.records import event_ids
from schemas.topics import ANOMALIES, DEAD_LETTERS, EVENT_IDS_HEADER, USAGE


@dataclass(frozen=True)
class Output:
    """A message to send, with the trace context of the event that led to it."""

    topic: str
    key: bytes
    value: bytes
    trace: str | None = None


def outputs(partition: Partition, number: int, frame: Frame, scored: Scored) -> list[Output]:
    """All messages of one scored frame, in the order in which they are sent."""
    sent: list[Output] = []
    for block, update in scored.updates:
        sent += _episode(partition, block, update)
    for failed in scored.failed:
        sent += _dead_letters(frame, failed)
    # A stream that is ahead of this frame is saved, and was saved after this record had been acknowledged.
    if scored.whole:
        for organization_id, tally in scored.tallies.items():
            position = Position(
                topic_id=partition.topic_id, partition=partition.number, frame=number, event=tally.first_event
            )
            usage = ScoredUsage(
                usage_id=scored_usage_id(partition.topic_id, partition.number, number, organization_id),
                organization_id=UUID(organization_id),
                is_anomaly=False,
                count=tally.scored,
                duplicates=tally.duplicates,
                skipped=tally.skipped,
                seeded=tally.seeded,
                opened={str(bits): count for bits, count in sorted(tally.opened.items())},
                occurred_at=tally.occurred_at,
                position=position,
                streams=tuple(StreamStanding(stream=s, **asdict(now)) for s, now in sorted(tally.streams.items())),
            )
            sent.append(Output(USAGE.name, organization_id.encode(), usage.to_bytes()))
    return sent


def _episode(partition: Partition, block: Block, update: EpisodeUpdate) -> list[Output]:
    first = Reference.from_bytes(update.reference)
    organization_id = UUID(block.organization_id)
    key = block.organization_id.encode()
    identity = anomaly_id(block.organization_id, block.stream, first.event_id, silence=update.silence)
    # A silence stands at the stream's last event before it. An episode that began there would still be open, and the silence
    # part of it: so no two episodes of a stream share a place, and each lies behind all billed before it.
    position = Position(topic_id=partition.topic_id, partition=partition.number, frame=first.frame, event=first.event)
    anomaly = Anomaly(
        id=identity,
        revision=update.revision,
        organization_id=organization_id,
        stream=block.stream,
        event_type=update.event_type,
        kind=update.kind,
        severity=update.severity,
        created_at=update.started_at,
        last_at=update.last_at,
        count=update.count,
        open=not update.closed,
        calibrated=update.calibrated,
        surprisal=update.surprisal,
        extrapolated=update.extrapolated,
        reference_n=update.reference_n,
        score_bits=update.score_bits,
        channels=dict(update.channels),
        explanation=Explanation(
            sentence=update.explanation.sentence,
            tokens=tuple(TokenEvidence(**asdict(token)) for token in update.explanation.tokens),
            event=update.explanation.event,
            nearest_normal=update.explanation.nearest_normal,
        ),
        metrics=WindowMetrics(**asdict(update.metrics)),
        first_event_id=first.event_id,
        position=position,
        detector_version=DETECTOR_VERSION,
        trace=first.trace,
        patterns=tuple(f"{key:016x}.{size}" for key, size in update.patterns),
    )
    sent = [Output(ANOMALIES.name, key, anomaly.to_bytes(), first.trace)]
    if update.revision == 1:
        usage = AnomalyUsage(
            usage_id=identity,
            organization_id=organization_id,
            stream=block.stream,
            is_anomaly=True,
            count=1,
            calibrated=update.calibrated,
            occurred_at=update.started_at,
            position=position,
            detector_version=DETECTOR_VERSION,
        )
        sent.append(Output(USAGE.name, key, usage.to_bytes(), first.trace))
    return sent


def _dead_letters(frame: Frame, failed: Failed) -> list[Output]:
    events = frame.events
    ends = np.cumsum(events.body_length, dtype=np.int64)
    id_ends = np.cumsum(events.id_length, dtype=np.int64)
    letters = []
    for i in failed.events:
        source = frame.ranges[events.source[i]]
        offset, index = int(events.offset[i]), int(events.index[i])
        body = events.body[int(ends[i]) - int(events.body_length[i]) : int(ends[i])]
        name = events.ids[int(id_ends[i]) - int(events.id_length[i]) : int(id_ends[i])].decode()
        headers: tuple[tuple[str, str], ...] = (("x-stream", failed.block.stream),)
        if event_ids(name) is not None:  # named by our API, not by the producer: the bytes do not hold it
            headers = (*headers, (EVENT_IDS_HEADER, name))
        letter = DeadLetter(
            id=dead_letter_id(source.topic_id, source.partition, offset, index),
            stage="worker",
            reason=failed.reason,
            topic=source.topic,
            topic_id=source.topic_id,
            partition=source.partition,
            offset=offset,
            index=index,
            received_at=int(events.received_at[i]),
            organization_id=failed.block.organization_id,
            headers=headers,
            key=None,
            body=base64.b64encode(body).decode(),
        )
        key = f"{source.topic}/{source.partition}/{offset}/{index}".encode()
        letters.append(Output(DEAD_LETTERS.name, key, letter.to_bytes()))
    return letters
