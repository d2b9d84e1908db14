"""What tenants said, from the table `control_outbox` to the topic `control`: in order, at least once, within a moment.

A message that comes twice changes nothing: it has a version (schemas/controls.py). One process at a time carries; others wait.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import psycopg
import structlog
from confluent_kafka import Producer

from pipeline import kafka
from pipeline.crash import crash_point
from pipeline.database import Connection, connect
from pipeline.metrics import counter, gauge
from schemas.controls import KINDS
from schemas.errors import DatabaseUnreachable, DeliveryFailed
from schemas.settings import Settings
from schemas.topics import CONTROL

SENT = counter("driftlock_control_messages_total")
WAITING = gauge("driftlock_control_waiting_messages")

PATIENCE_SECONDS = 1.0
"""A pass at least so often, should a notice get lost."""
_BATCH = 500
_LOCK = 7226190274  # any number that no other user of this database's advisory locks takes

_LOG = structlog.get_logger("pipeline.control")


@dataclass
class Status:
    """What /readyz asks: why the last pass failed, in one line."""

    failing: str = "no pass yet"

    def wrong(self) -> str:
        """Nothing, or what is wrong."""
        return self.failing


def carry(connection: Connection, producer: Producer, clock: Callable[[], datetime]) -> int:
    """Send what waits, wait for Kafka's acknowledgement, mark it; how many. 0 too while another process carries.

    Raises `DeliveryFailed`; then all of it waits on.
    """
    total = 0
    while True:
        with connection.transaction():
            if connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,)).fetchone() != (True,):
                return total
            rows = connection.execute(
                "SELECT id, key, message FROM control_outbox WHERE sent_at IS NULL ORDER BY id LIMIT %s", (_BATCH,)
            ).fetchall()
            if not rows:
                return total
            kafka.deliver(producer, CONTROL.name, [(key, _bytes(message)) for _, key, message in rows])
            crash_point("control:after-send")
            connection.execute(
                "UPDATE control_outbox SET sent_at = %s WHERE id = ANY(%s)", (clock(), [row[0] for row in rows])
            )
        SENT.inc(len(rows))
        total += len(rows)


def _bytes(message: dict[str, Any]) -> bytes:
    return KINDS[message["kind"]].from_bytes(orjson.dumps(message)).to_bytes()


def again(connection: Connection) -> int:
    """Let the last message of every key be sent once more, for workers that lost them with `blocks`; how many."""
    return connection.execute(
        "UPDATE control_outbox SET sent_at = NULL WHERE id IN (SELECT max(id) FROM control_outbox GROUP BY key)"
    ).rowcount


def run(settings: Settings, stop: threading.Event, status: Status, clock: Callable[[], datetime]) -> None:
    """Carry until `stop` is set. PostgreSQL or Kafka being down is waited out."""
    kafka.require_broker(settings)
    # A message that expired is sent by the next pass, behind those of the same: no gap to be guarded against.
    producer = kafka.producer(settings, {"enable.gapless.guarantee": False, "message.timeout.ms": 15_000})
    while not stop.is_set():
        try:
            with connect(settings, "control") as connection:
                connection.execute("LISTEN driftlock_control")
                while not stop.is_set():
                    if sent := carry(connection, producer, clock):
                        _LOG.info("control messages sent", messages=sent)
                    row = connection.execute("SELECT count(*) FROM control_outbox WHERE sent_at IS NULL").fetchone()
                    WAITING.set(row[0] if row else 0)
                    status.failing = ""
                    for _ in connection.notifies(timeout=PATIENCE_SECONDS, stop_after=1):
                        pass
        except (psycopg.Error, DatabaseUnreachable, DeliveryFailed) as error:
            status.failing = " ".join(str(error).split())[:300]
            _LOG.warning("pass failed", error=status.failing)
            stop.wait(PATIENCE_SECONDS)
