"""What came out of a stack, counted where it is written down: PostgreSQL and the dead-letter topic."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from confluent_kafka import Consumer, TopicPartition
from psycopg.rows import dict_row

from pipeline import kafka
from schemas.settings import Settings
from schemas.topics import DEAD_LETTERS


@dataclass(frozen=True)
class Account:
    """Events by what became of them, and units."""

    scored: int
    duplicates: int
    skipped: int
    seeded: int
    dead_letters: int
    anomalies: int
    billable: int
    warmup: int

    @property
    def events(self) -> int:
        """Events that are accounted for."""
        return self.scored + self.duplicates + self.skipped + self.seeded + self.dead_letters


def read(settings: Settings, connection: psycopg.Connection[Any], organization_id: UUID) -> Account:
    """The present account of an organization (dead letters: of all), as the owner of the schema."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT coalesce(sum(scored_events), 0)::bigint AS scored, coalesce(sum(duplicate_events), 0)::bigint"
            " AS duplicates, coalesce(sum(skipped_events), 0)::bigint AS skipped, coalesce(sum(seeded_events), 0)::bigint AS seeded, coalesce(sum(billable), 0)::bigint AS billable, coalesce(sum(warmup), 0)::bigint AS warmup"
            " FROM usage_counters WHERE organization_id = %s",
            (organization_id,),
        )
        counted = cursor.fetchone() or {}
        cursor.execute("SELECT count(*) AS n FROM anomalies WHERE organization_id = %s", (organization_id,))
        anomalies = (cursor.fetchone() or {"n": 0})["n"]
    return Account(
        counted["scored"],
        counted["duplicates"],
        counted["skipped"],
        counted["seeded"],
        dead_letters(settings),
        anomalies,
        counted["billable"],
        counted["warmup"],
    )


def dead_letters(settings: Settings) -> int:
    """Records of the dead-letter topic."""
    reader: Consumer = kafka.consumer(settings, "driftlock-account")
    try:
        partitions = reader.list_topics(DEAD_LETTERS.name, timeout=10).topics[DEAD_LETTERS.name].partitions
        total = 0
        for partition in partitions:
            low, high = reader.get_watermark_offsets(TopicPartition(DEAD_LETTERS.name, partition), timeout=10)
            total += high - low
        return total
    finally:
        reader.close()


def found(connection: psycopg.Connection[Any], organization_id: UUID) -> list[dict[str, Any]]:
    """The organization's anomalies, the earliest first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT id, created_at, stream, kind, severity, count, calibrated, explanation FROM anomalies"
            " WHERE organization_id = %s ORDER BY created_at, id",
            (organization_id,),
        )
        return cursor.fetchall()
