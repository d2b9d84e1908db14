"""An anomaly's bundle from a running stack: what was told is read, its course played again, and both must be the same bytes."""

from collections.abc import Iterable, Iterator
from uuid import UUID

from billing import ledger
from billing.ledger import Sealed
from detectors.detector import Controls
from pipeline import history, jobs, kafka
from pipeline.evidence.bundle import Bundle, Source, versions
from pipeline.evidence.course import Step, steps
from pipeline.evidence.cut import Start, cut
from pipeline.replay import shadow
from pipeline.worker.rules import Rule, Rules, as_of
from pipeline.worker.saved import SavedStateError, decode_partition, decode_stream, partition_key, stream_key
from schemas.errors import DriftlockError
from schemas.models import Anomaly
from schemas.settings import Settings
from schemas.topics import ANOMALIES, BLOCKS, STATES


class NoEvidence(DriftlockError):
    """What an anomaly rests on can't be shown any more."""


def collect(settings: Settings, anomaly_id: UUID, controls: Controls) -> Bundle:
    """The bundle of an anomaly. `NoEvidence` where its topic no longer holds it, or it is not computed again as it was told.

    `controls` hold where the organization said nothing. The ledger's entries are in it where DATABASE_URL_JOBS is set.
    """
    kafka.require_broker(settings)
    told = _told(settings, anomaly_id)
    if not told:
        raise NoEvidence(
            f"there is no anomaly {anomaly_id} on the topic {ANOMALIES.name}: never told, or removed by retention"
        )
    newest = Anomaly.from_bytes(told[-1])
    at = newest.position
    source = Source(str(newest.organization_id), newest.stream, at.topic_id, at.partition)
    topic_id = kafka.topic_ids(kafka.admin(settings), [BLOCKS.name])[BLOCKS.name]
    if topic_id != at.topic_id:
        raise NoEvidence(
            f"anomaly {anomaly_id} was found in another topic {BLOCKS.name} (id {at.topic_id}, now {topic_id})"
        )
    first = history.bounds(settings, BLOCKS.name)[at.partition][0]
    if at.frame < first:
        raise NoEvidence(
            f"its events are gone: {BLOCKS.name}/{at.partition} begins at frame {first}, they lie in frame {at.frame}"
        )
    for start in starts(settings, source, at.frame):
        found = cut(course(settings, source, controls), source, anomaly_id, at.frame, start, len(told))
        if found.anomaly and found.anomaly == told[: len(found.anomaly)]:
            rows = tuple(_booked(settings, newest.organization_id, anomaly_id))
            return Bundle(source, versions(), found.anomaly, found.usage, found.state, found.steps, rows)
    why = (
        f": {BLOCKS.name}/{at.partition} begins at frame {first}, and no saved state from before is left"
        if first
        else ""
    )
    raise NoEvidence(
        f"anomaly {anomaly_id} is not computed again as it was told{why}; was the installation's sensitivity another then (--sensitivity), "
        "or was it told by another release?"
    )


def course(settings: Settings, source: Source, controls: Controls, *, alike: bool = False) -> Iterator[Step]:
    """The stream's course as `blocks` holds it now. `alike`: as if its organization had asked for no sensitivity of its own."""
    within = {source.partition: history.bounds(settings, BLOCKS.name)[source.partition]}
    frames = shadow.read(settings, within)
    said = rules_before(_records(settings, source), source.topic_id, within[source.partition][0])
    if alike:
        frames, said = shadow.alike(frames), shadow.alike_rules(said)
    return steps(frames, source.organization_id, source.stream, controls, said)


def _records(settings: Settings, source: Source) -> Iterator[bytes]:
    """The saved records of the stream's partition that the changelog still has."""
    within = {source.partition: history.bounds(settings, STATES.name)[source.partition]}
    for message in history.messages(settings, STATES.name, within):
        if message.key() == partition_key(source.partition) and (value := message.value()):
            yield value


def rules_before(records: Iterable[bytes], topic_id: str, frame: int) -> Rules:
    """What organizations had said before a frame of a topic, as far as a partition's saved records hold it."""
    found: dict[str, dict[int, Rule]] = {}
    for record in records:
        try:
            saved = decode_partition(record)
        except SavedStateError:
            continue  # of another release
        if saved.topic_id == topic_id:
            for key, versions in saved.rules.items():
                found.setdefault(key, {}).update({rule.said.version: rule for rule in versions})
    return as_of({key: tuple(rule for _, rule in sorted(of.items())) for key, of in found.items()}, frame)


def starts(settings: Settings, source: Source, before: int) -> list[Start]:
    """States to begin from: the latest that was saved before frame `before`, if the changelog still has one; then a new stream."""
    best = Start()
    within = history.bounds(settings, STATES.name)
    key = stream_key(source.organization_id, source.stream).encode()
    for message in history.messages(settings, STATES.name, {source.partition: within[source.partition]}):
        if message.key() != key or not message.value():
            continue
        try:
            saved = decode_stream(message.value() or b"")
        except SavedStateError:
            continue  # of another release
        if saved.topic_id == source.topic_id and best.position < saved.position < before:
            best = Start(saved.position, saved.dump)
    return [best, Start()] if best.state else [best]


def _told(settings: Settings, anomaly_id: UUID) -> tuple[bytes, ...]:
    name = str(anomaly_id).encode()
    revisions: dict[int, bytes] = {}
    for message in history.messages(settings, ANOMALIES.name, history.bounds(settings, ANOMALIES.name)):
        value = message.value() or b""
        if name in value and (anomaly := Anomaly.from_bytes(value)).id == anomaly_id:
            revisions[anomaly.revision] = value
    return tuple(value for _, value in sorted(revisions.items()))


def _booked(settings: Settings, organization_id: UUID, anomaly_id: UUID) -> list[Sealed]:
    if not settings.database_url_jobs.get_secret_value():
        return []
    with jobs.connect(settings) as connection:
        return ledger.around(connection, organization_id, anomaly_id)
