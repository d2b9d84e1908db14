"""The order of steps on each frame: score → send, await Kafka's acknowledgement → save what is due → acknowledge the frame."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import structlog
from faust.types.tuples import Message

from detectors.detector import Controls
from pipeline import tracing
from pipeline.crash import crash_point
from pipeline.worker import metrics
from pipeline.worker.outputs import Output, outputs
from pipeline.worker.partition import Partition
from pipeline.worker.recovery import FirstFrame, ReadFrames, accept_lost, catch_up, restore
from pipeline.worker.reference import Reference
from pipeline.worker.scoring import Scored, score_frame
from schemas.errors import DriftlockError, TopicRecreated
from schemas.frames import decode
from schemas.identity import anomaly_id
from schemas.topics import BLOCKS

log = structlog.get_logger(__name__)

Send = Callable[[Output], Awaitable[Awaitable[Any]]]
Write = Callable[[int, bytes, bytes], Awaitable[Any]]

AT_ONCE = 32
"""Frames read again at once: what is held of them in memory stays small."""


@dataclass
class Worker:
    """What the steps need of the outside, and the partitions held."""

    topic_id: Callable[[], str]
    read: ReadFrames
    first_frame: FirstFrame
    stored: Callable[[bytes], bytes | None]
    send: Send
    write: Write
    acknowledge: Callable[[int, int], None]
    controls: Controls
    checkpoint_bytes: int
    checkpoint_seconds: float
    resident_streams: int
    organization_streams: int
    accept_new_topic: bool = False
    partitions: dict[int, Partition] = field(default_factory=dict)
    wrong: str = "starting"


async def run(worker: Worker, stream: Any) -> None:
    """Handle each frame of the stream; an error that is ours to judge ends the process before the frame is acknowledged."""
    async for event in stream.noack().events():
        try:
            await handle(worker, event.message)
        except DriftlockError as error:
            stop(error)
        except Exception as error:  # nothing unknown is passed over: the frame stays unacknowledged
            log.exception("frame not handled", partition=event.message.partition, offset=event.message.offset)
            stop(DriftlockError(f"a frame of {BLOCKS.name} could not be handled: {type(error).__name__}: {error}"))
        event.ack()


async def handle(worker: Worker, message: Message) -> None:
    """A frame as Faust delivers it, after those before it that Faust has left out.

    Faust drops what it has buffered when partitions move, goes on behind it, and counts the gap as acknowledged. So which
    frame comes next is our own record, never Faust's: what is missing is read again, what was handled is passed over.
    """
    number, first = message.partition, message.offset
    partition = await _held(worker, number, first)
    try:
        while partition.position + 1 < first:
            last = min(first - 1, partition.position + AT_ONCE)
            missing = await asyncio.to_thread(lambda to: list(worker.read(number, partition.position + 1, to)), last)
            metrics.REREAD.inc(len(missing))
            for offset, value in missing:
                await _frame(worker, partition, offset, value, message.timestamp)
                worker.acknowledge(number, offset)
        if partition.position < first:
            await _frame(worker, partition, first, message.value or b"", message.timestamp)
    except BaseException:
        # Also when cancelled: the states may be ahead of what was sent, so they are restored from what was saved.
        worker.partitions.pop(number, None)
        raise


async def _frame(worker: Worker, partition: Partition, number: int, value: bytes, timestamp: float) -> None:
    data = decode(value)
    size = len(data.events.body)
    scored = score_frame(partition, number, data, size, worker.stored, worker.controls, worker.organization_streams)
    crash_point("worker:after-score")
    made = outputs(partition, number, data, scored)
    traces = [*(output.trace for output in made), *data.traces.values()]
    where = {"partition": partition.number, "frame": number}
    with tracing.following("score", traces, since_ms=int(timestamp * 1000), attributes=where) as spans:
        sending = [replace(output, trace=tracing.carried(spans, output.trace)) for output in made]
        acknowledgements = [await worker.send(output) for output in sending]
        crash_point("worker:after-send")
        for acknowledgement in acknowledgements:
            await acknowledgement
    partition.acked = number
    crash_point("worker:after-ack")
    if partition.due(time.monotonic(), worker.checkpoint_bytes, worker.checkpoint_seconds):
        await save(worker, partition)
    metrics.handled(partition.number, data, scored, timestamp)
    metrics.STREAMS.set(sum(len(p.streams) for p in worker.partitions.values()))
    _say(scored)


async def save(worker: Worker, partition: Partition) -> None:
    """Write every changed state, then the partition's record, each acknowledged by Kafka."""
    writes = []
    size = 0
    for stream, value in partition.changed():
        writes.append(worker.write(partition.number, stream.encode(), value))
        size += len(value)
        crash_point("worker:mid-save")
    await asyncio.gather(*writes)
    crash_point("worker:after-states")
    key, record = partition.checkpoint(time.monotonic(), size)
    await worker.write(partition.number, key, record)
    partition.evict(worker.resident_streams)
    metrics.SAVED_BYTES.inc(size + len(record))
    crash_point("worker:after-save")


async def _held(worker: Worker, number: int, first: int) -> Partition:
    """The partition, restored if it is not held, and of the topic that is there now."""
    partition = worker.partitions.get(number)
    if partition is not None and first == partition.position + 1:
        return partition
    topic_id = await asyncio.to_thread(worker.topic_id)
    if partition is not None:
        if partition.topic_id != topic_id:
            raise TopicRecreated(
                f"the topic {BLOCKS.name} was made again while this worker read it (id {partition.topic_id}, now {topic_id}): "
                "start it again with `driftlock worker --accept-new-topic blocks`"
            )
        return partition
    started = time.monotonic()
    partition = restore(number, topic_id, worker.stored, accept_new_topic=worker.accept_new_topic)
    partition.checkpoint_at = started
    if worker.accept_new_topic and (
        lost := accept_lost(partition, await asyncio.to_thread(worker.first_frame, number))
    ):
        log.warning("frames that were removed are accepted as lost", partition=number, frames=lost)
    read = await asyncio.to_thread(
        catch_up, partition, worker.read, worker.stored, worker.controls, worker.organization_streams
    )
    worker.partitions[number] = partition
    worker.wrong = ""
    metrics.REREAD.inc(read)
    log.info(
        "partition restored",
        partition=number,
        next_frame=partition.position + 1,
        delivered=first,
        frames_read_again=read,
        seconds=round(time.monotonic() - started, 3),
    )
    return partition


def keep_only(worker: Worker, numbers: Iterable[int]) -> None:
    """Drop the memory of partitions that are no longer assigned."""
    kept = set(numbers)
    for number in [n for n in worker.partitions if n not in kept]:
        del worker.partitions[number]
        metrics.gone(number)
    worker.wrong = ""


def stop(error: DriftlockError) -> NoReturn:
    """End the process at once with one line: nothing behind the frame at hand is acknowledged or committed."""
    log.critical("stopped", reason=str(error))
    sys.stderr.write(f"driftlock: {error}\n")
    sys.stderr.flush()
    os._exit(error.exit_code)


def _say(scored: Scored) -> None:
    for organization_id in scored.overflowed:
        metrics.OVERFLOWED.inc()
        log.warning("streams over the limit are scored as one", organization_id=organization_id, stream="other")
    for block, update in scored.updates:
        if update.revision == 1:
            first = Reference.from_bytes(update.reference)
            log.info(
                "anomaly",
                organization_id=block.organization_id,
                anomaly_id=str(anomaly_id(block.organization_id, block.stream, first.event_id, silence=update.silence)),
                kind=update.kind,
                severity=update.severity,
                trace_id=first.trace.split("-")[1] if first.trace and first.trace.count("-") == 3 else None,
            )
