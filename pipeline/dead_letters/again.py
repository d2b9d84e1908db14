"""A dead letter as the record it was, to be sent again: same topic, key, headers and bytes, ids that stay, one attempt more."""

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer

from pipeline.dead_letters import transform
from pipeline.dead_letters.find import body
from pipeline.dead_letters.transform import Transform, Unfit
from pipeline.topics import ORGANIZATION_TOPIC
from schemas import records
from schemas.errors import DeliveryFailed
from schemas.models import DeadLetter
from schemas.records import Described
from schemas.topics import (
    ATTEMPT_HEADER,
    CONTENT_TYPE_HEADER,
    CONTROL,
    EVENT_IDS_HEADER,
    EVENTS,
    ORGANIZATION_HEADER,
    SEEDS,
    SIGNALS,
)

_TIMEOUT = 60.0
_CUT = "bytes are kept here, all are at its place)"

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Again:
    """A record to send, or why it is none (`refused`). `forced`: it would be rejected again, as `refused` says, and is sent all the same."""

    letter: DeadLetter
    headers: Headers = ()
    value: bytes = b""
    refused: str = ""
    forced: bool = False

    @property
    def topic(self) -> str:
        """Where it goes: where it came from. What a worker had was an event, whatever batch it came in."""
        return EVENTS.name if self.letter.stage == "worker" and self.letter.topic in SIGNALS else self.letter.topic

    @property
    def sent(self) -> bool:
        """Whether it goes to Kafka."""
        return self.forced or not self.refused


def again(letter: DeadLetter, rules: Transform | None, organizations: Container[str], *, force: bool = False) -> Again:
    """The record of a letter. `organizations`: those that packers know."""
    if letter.topic == CONTROL.name:
        return Again(letter, refused="a control message could undo a newer one: write it anew")
    if letter.topic == SEEDS.name:
        return Again(letter, refused="an event of the past goes before those that came later: seed its file again")
    if letter.reason.endswith(_CUT):
        return Again(letter, refused="its body was cut: take the whole record from its place in the source topic")
    value = body(letter)
    headers = _headers(letter, value)
    if rules is not None:
        try:
            value = transform.apply(rules, value)
        except Unfit as error:
            return Again(letter, refused=str(error))
        changed = {name.lower(): new for name, new in rules.headers.items()}
        kept = tuple(h for h in headers if h[0].lower() not in changed)
        headers = kept + tuple((name, new) for name, new in changed.items() if new is not None)
    refused = _judge(letter, headers, value, organizations)
    return Again(letter, headers, value, refused, forced=force and bool(refused))


def _headers(letter: DeadLetter, value: bytes) -> Headers:
    """The original headers, the organization where they lacked it, a name for events without an id, and the attempt."""
    kept = [(name, v) for name, v in letter.headers if name.lower() != ATTEMPT_HEADER]
    if letter.stage in {"packer", "worker"}:
        given = {name.lower() for name, _ in kept}
        if letter.organization_id and _owner(letter) is None and ORGANIZATION_HEADER not in given:
            kept.append((ORGANIZATION_HEADER, letter.organization_id))
        if letter.stage == "worker":
            # The worker has the event's bytes alone: whether they are an object decides what they were.
            kept.append((CONTENT_TYPE_HEADER, "application/json" if _is_object(value) else "text/plain"))
        name, first = records.event_ids(_named(letter)) or (str(letter.id), 0)
        # The record begins at the letter's own place in the one it came from, so the names go on there.
        moved = first + letter.index if name != str(letter.id) and letter.stage == "packer" else first
        kept = [h for h in kept if h[0].lower() != EVENT_IDS_HEADER]
        kept.append((EVENT_IDS_HEADER, f"{name}/{moved}"))
    return (*kept, (ATTEMPT_HEADER, str(letter.attempt + 1)))


def _owner(letter: DeadLetter) -> str | None:
    """Whose topic it came from; None where the topic is shared and a header says whose."""
    own = ORGANIZATION_TOPIC.fullmatch(letter.topic)
    return own[1] if own else None


def _named(letter: DeadLetter) -> str:
    return next((value for name, value in letter.headers if name.lower() == EVENT_IDS_HEADER), "")


def _is_object(value: bytes) -> bool:
    try:
        return isinstance(orjson.loads(value), dict)
    except ValueError:
        return False


def _judge(letter: DeadLetter, headers: Headers, value: bytes, organizations: Container[str]) -> str:
    """Why the packer would reject it again, as far as that can be told; a sink's reasons can't."""
    if letter.stage not in {"packer", "worker"}:
        return ""
    signal = SIGNALS.get(letter.topic, "") if letter.stage == "packer" else ""
    described: Described = records.describe(headers, signal)
    organization = _owner(letter) or described.organization_id
    if described.wrong is not None:
        return described.wrong[1]
    if organization is None:
        return f"no header {ORGANIZATION_HEADER}"
    if described.organization_id not in {None, organization}:
        return f"the header {ORGANIZATION_HEADER} differs from the organization of the topic"
    if organization not in organizations:
        return f"the organization {organization} is not known"
    _, dead = records.read(value, described)
    return dead[0][2] if dead else ""


def redrive(producer: Producer, found: Iterable[Again]) -> Iterator[Again]:
    """Send records in order and wait, at the end, until Kafka has all of them; each is yielded once it is handed over."""
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: object) -> None:
        if error is not None:
            failed.append(error)

    for one in found:
        if one.sent:
            _produce(producer, one, delivered)
        yield one
    left = producer.flush(_TIMEOUT)
    if failed or left:
        raise DeliveryFailed(
            f"dead letters were not all sent again: {failed[0].str() if failed else f'{left} without an answer'}; "
            "run the command again: their events keep their ids"
        )


def _produce(producer: Producer, one: Again, delivered: Callable[[KafkaError | None, object], None]) -> None:
    headers: list[tuple[str, str | bytes | None]] = list(one.headers)
    while True:
        try:
            producer.produce(one.topic, one.value, one.letter.key, headers=headers, on_delivery=delivered)
        except BufferError:
            producer.poll(0.1)
        except KafkaException as error:
            raise DeliveryFailed(f"Kafka refused a dead letter for {one.topic}: {error.args[0].str()}") from error
        else:
            return
