"""Peer: a plain Faust agent over `events` that writes one table value and sends one message per event.

`python -m tests.benchmarks.faust_agent BROKERS APP WARM TOTAL CPU FOLDER` prints {"events", "cpu"} between `warm` and
`total` events, or `cpu` seconds later, and ends. Raw bytes, table in memory, commit every second, and the settings of our
own worker where they make Faust faster.
"""

import json
import logging
import os
import sys
import time
from typing import Any

import faust
from faust import Worker
from yarl import URL

from schemas.topics import EVENTS


def out(app: str) -> str:
    """The topic it sends to."""
    return f"{app}-out"


def changelog(app: str) -> str:
    """The topic of its table."""
    return f"{app}-counts-changelog"


def build(brokers: str, name: str, warm: int, total: int, cpu: float, folder: str) -> faust.App:
    """The app; its agent ends the process."""
    app = faust.App(
        name,
        broker=[URL(f"kafka://{brokers}")],
        broker_commit_interval=1.0,
        broker_commit_every=100_000,
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        producer_linger=0.01,
        datadir=folder,
        store="memory://",
        stream_wait_empty=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        topic_partitions=4,
        web_enabled=False,
        autodiscover=False,
    )
    raw: dict[str, Any] = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    events = app.topic(EVENTS.name, **raw)
    target = app.topic(out(name), **raw)
    counts: Any = app.Table("counts", partitions=4, key_type=bytes, value_type=bytes)

    @app.agent(events, name="count")
    async def count(stream: faust.StreamT[Any]) -> None:
        done = first = 0
        began = 0.0
        async for event in stream.events():
            key = event.key
            counts[key] = b"%d" % (int(counts.get(key) or 0) + 1)
            await target.send(key=key, value=event.value)
            done += 1
            if done % 100 and done < total:
                continue
            now = time.process_time()
            if not first:
                if done >= warm:
                    first, began = done, now
            elif now - began >= cpu or done >= total:
                sys.stdout.write(json.dumps({"events": done - first, "cpu": now - began}) + "\n")
                sys.stdout.flush()
                os._exit(0)

    return app


if __name__ == "__main__":
    _, brokers_, name_, warm_, total_, cpu_, folder_ = sys.argv
    app_ = build(brokers_, name_, int(warm_), int(total_), float(cpu_), folder_)
    logging.basicConfig(level=logging.WARNING)  # with its own set-up Faust makes a record of every debug line
    Worker(app_, loglevel="WARN", quiet=True, redirect_stdouts=False, override_logging=False).execute_from_commandline()
