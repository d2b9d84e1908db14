"""Frames scored again as the workers did, from the log's beginning, nothing sent."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from detectors.detector import Controls
from pipeline import history
from pipeline.history import Bounds
from pipeline.worker.outputs import Output, outputs
from pipeline.worker.partition import Partition
from pipeline.worker.rules import Rules
from pipeline.worker.scoring import score_frame
from schemas.frames import Block, Frame, decode
from schemas.settings import Settings
from schemas.topics import BLOCKS

Keep = Callable[[Block], bool]

_FRAMES_A_SAVING = 512
_OWN = "sensitivity"


@dataclass(frozen=True)
class Numbered:
    """A frame in its place in `blocks`; `size` is its events' bytes."""

    partition: int
    offset: int
    frame: Frame
    size: int


@dataclass(frozen=True)
class Said:
    """What a frame led to: its messages, and how many events of it were chosen."""

    partition: int
    offset: int
    events: int
    outputs: list[Output]


def read(settings: Settings, within: Bounds) -> Iterator[Numbered]:
    """The frames of `blocks` within some bounds, partition by partition."""
    for message in history.messages(settings, BLOCKS.name, within):
        frame = decode(message.value() or b"")
        yield Numbered(message.partition() or 0, message.offset() or 0, frame, len(frame.events.body))


def only(frame: Frame, keep: Keep) -> Frame:
    """The frame with some of its blocks; its events stay where they are, and its ranges say the same."""
    return replace(frame, blocks=tuple(block for block in frame.blocks if keep(block)))


def alike(frames: Iterable[Numbered]) -> Iterator[Numbered]:
    """The frames as if no organization had asked for a sensitivity, of all or of one stream: all have that of the installation."""
    for numbered in frames:
        frame = numbered.frame
        controls = tuple({**said, _OWN: None} if _OWN in said else said for said in frame.controls)
        yield replace(numbered, frame=replace(frame, controls=controls)) if controls else numbered


def alike_rules(rules: Rules) -> Rules:
    """The same of rules that were in force before."""
    return {
        key: tuple(
            replace(rule, said=rule.said.model_copy(update={_OWN: None})) if hasattr(rule.said, _OWN) else rule
            for rule in versions
        )
        for key, versions in rules.items()
    }


def controls_of(settings: Settings, sensitivity: float | None = None) -> Controls:
    """What workers report by where an organization said nothing, or another sensitivity."""
    return Controls(settings.sensitivity if sensitivity is None else sensitivity, settings.false_alarms_per_day)


def streams_per_partition(settings: Settings) -> int:
    """How many streams of an organization a partition scores apart, as in the worker."""
    return -(-settings.streams_per_organization // settings.topic_partitions)


def score(
    frames: Iterable[Numbered], topic_id: str, controls: Controls, settings: Settings, keep: Keep | None = None
) -> Iterator[Said]:
    """Score frames that come partition by partition, each in order; what each led to."""
    partition: Partition | None = None
    table: dict[bytes, bytes] = {}
    for count, numbered in enumerate(frames, 1):
        if partition is None or partition.number != numbered.partition:
            partition, table = Partition(numbered.partition, topic_id), {}
        frame = numbered.frame if keep is None else only(numbered.frame, keep)
        scored = score_frame(
            partition, numbered.offset, frame, numbered.size, table.get, controls, streams_per_partition(settings)
        )
        events = sum(block.stop - block.start for block in frame.blocks)
        yield Said(numbered.partition, numbered.offset, events, outputs(partition, numbered.offset, frame, scored))
        if count % _FRAMES_A_SAVING == 0 and len(partition.streams) > settings.worker_resident_streams:
            table |= {key.encode(): value for key, value in partition.changed()}
            partition.checkpoint(0.0, 0)
            partition.evict(settings.worker_resident_streams)
