"""The part of a stream's course that one anomaly rests on: state before, steps, and what they tell again."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from uuid import UUID

from detectors.detector import EpisodeUpdate, dump, load
from pipeline.evidence.bundle import Source
from pipeline.evidence.course import Played, Step, matters, play
from pipeline.worker.outputs import outputs
from pipeline.worker.partition import Partition
from pipeline.worker.scoring import Scored
from schemas.frames import Block, Frame, columns
from schemas.models import Anomaly, usage_from_bytes
from schemas.topics import ANOMALIES

MAX_EVENT_BYTES = 64 << 20
"""Events of a bundle: an episode ends after 8,192 of them at the latest, and each has 64 KiB at most; usual ones stay far below."""

_NOTHING = Frame((), (), columns([], [], [], [], [], []))


@dataclass(frozen=True)
class Start:
    """A state that is known: as of the end of frame `position`. -1 and b"": the stream begins."""

    position: int = -1
    state: bytes = b""

    def begin(self) -> Played:
        """The stream, to be played on from here."""
        return Played(load(self.state), known=True) if self.state else Played()


@dataclass(frozen=True)
class Cut:
    """What was cut out: the state before the first step, the steps, and the messages that they lead to for this anomaly."""

    state: bytes
    steps: tuple[Step, ...]
    anomaly: tuple[bytes, ...]
    usage: bytes


def told(source: Source, updates: Iterable[EpisodeUpdate], identity: UUID) -> Iterator[tuple[str, bytes]]:
    """(topic, message) of the updates of one anomaly, as a worker sends them."""
    block = Block(source.organization_id, source.stream, 0, 0)
    scored = Scored([(block, update) for update in updates], {}, [], whole=False, overflowed=set(), obeyed=0)
    for output in outputs(Partition(source.partition, source.topic_id), 0, _NOTHING, scored):
        if output.topic == ANOMALIES.name:
            fits = Anomaly.from_bytes(output.value).id == identity
        else:
            fits = usage_from_bytes(output.value).usage_id == identity
        if fits:
            yield output.topic, output.value


def cut(
    course: Iterable[Step], source: Source, identity: UUID, first_frame: int, start: Start, most: int = 1 << 30
) -> Cut:
    """Play a stream's course from `start`; what the anomaly, whose episode begins in `first_frame`, rests on.

    It ends with the last revision, after `most` of them, or where the course or the limit of bytes ends. Without any revision it
    is empty.
    """
    stream = start.begin()
    before: bytes | None = None
    kept: list[Step] = []
    length, size = 0, 0
    anomaly: list[bytes] = []
    usage = b""
    for step in course:
        if step.frame <= start.position or not matters(stream, step):
            continue
        if before is None:
            if step.frame < first_frame:
                play(stream, step)
                continue
            before = dump(stream.state) if stream.known else b""
        if step.asked.paused:
            step = replace(step, events=())  # noqa: PLW2901 (they are not scored)
        size += sum(len(event.body) for event in step.events)
        if size > MAX_EVENT_BYTES:
            break
        kept.append(step)
        closed = False
        for topic, value in told(source, play(stream, step).updates, identity):
            length = len(kept)
            if topic == ANOMALIES.name:
                anomaly.append(value)
                closed = not Anomaly.from_bytes(value).open
            else:
                usage = value
        if closed or len(anomaly) >= most:
            break
    return Cut(before or b"", tuple(kept[:length]), tuple(anomaly), usage)
