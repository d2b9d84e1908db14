"""What a sink is: a topic, and how a batch of its records becomes rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg

from schemas.topics import Topic

Connection = psycopg.Connection[Any]
Fate = Literal["written", "not_anomaly", "duplicate", "rejected"]
"""What became of a record: rows; counted only; known already; a dead letter."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a topic; `arrived_at` in ms is the broker's append time."""

    topic_id: str
    partition: int
    offset: int
    arrived_at: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: the fate of each record in order, the reasons of the rejected ones by their index."""

    fates: tuple[Fate, ...]
    reasons: Mapping[int, str] = field(default_factory=dict)


Write = Callable[[Connection, Sequence[Record], int], Outcome]
"""Write a batch in the transaction that the caller owns; the last argument is the time in ms."""


@dataclass(frozen=True)
class Sink:
    """One sink. `name` is its consumer group, its row in sink_offsets, and the stage of its dead letters."""

    name: Literal["sink-anomalies", "sink-usage"]
    topic: Topic
    write: Write
    other_topics: tuple[Topic, ...] = ()
    """Topics whose ids stand in the records: the first id of each is accepted as it is, a later one only by command."""
    daily: Callable[[Connection, int], None] | None = None
    """What is done at the start and once a day."""
