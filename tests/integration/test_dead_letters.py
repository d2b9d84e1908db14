"""`driftlock dlq` on real Kafka: what is shown, what is sent again, once; and the packer's fuse."""

import os
import re
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import numpy as np
import orjson

from pipeline.embedded import process
from pipeline.embedded.broker import Broker
from pipeline.places import admit
from pipeline.worker.scoring import event_id
from schemas import frames
from schemas.frames import Place
from schemas.topics import BLOCKS
from tests.integration.packer_process import ORGANIZATION, Stage, ended, last_line, stage, stopped, until

BROKEN = [b"{'n': 1}", b"{'n': 2}", b'{"n":3,"stream":7}']


def dlq(here: Stage, *words: str, code: int = 0) -> str:
    """Run a command; its output."""
    environ = {**os.environ, "KAFKA_BROKERS": here.broker.bootstrap}
    command = [sys.executable, "-m", "pipeline.cli", "dlq", *words]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def event_ids(here: Stage) -> list[tuple[bytes, UUID]]:
    """(body, id) of each event that agents take."""
    found = []
    expected: dict[int, dict[tuple[str, int], Place]] = {}
    for message in here.read(BLOCKS.name):
        frame = frames.decode(message.value())
        mask, expected[message.partition()] = admit(expected.get(message.partition(), {}), frame)
        ends = np.cumsum(frame.events.body_length, dtype=np.int64)
        id_ends = np.cumsum(frame.events.id_length, dtype=np.int64)
        for block in frame.blocks:
            for i in range(block.start, block.stop):
                body = frame.events.body[int(ends[i]) - int(frame.events.body_length[i]) : int(ends[i])]
                if mask[i]:
                    found.append((body, event_id(frame, block, i, id_ends)))
    return found


def test_letters_are_shown_mended_and_sent_again_under_the_same_ids(own_broker: Broker, tmp_path: Path) -> None:
    with stage(own_broker, tmp_path) as here:
        assert "0 dead letters" in dlq(here, "list")
        as_json = [("x-organization-id", ORGANIZATION.encode()), ("content-type", b"application/json")]
        here.send("events", [b'{"n":0}', *BROKEN], headers=as_json, partition=0)  # type: ignore[arg-type]
        here.send("events", [b'{"n":9}'], headers=[], partition=0)
        packer = here.packer()
        until(lambda: len(here.dead()) == 4)
        listed = dlq(here, "list", "--limit", "3", code=1)
        assert "4 dead letters, 3 shown" in listed
        assert "'n'" not in listed  # payloads are shown by `show` alone
        rows = [orjson.loads(line) for line in dlq(here, "list", "--form", "json", code=1).splitlines()]
        assert [(row["offset"], row["attempt"], row["bytes"]) for row in rows] == [
            (1, 1, 8),
            (2, 1, 8),
            (3, 1, 18),
            (4, 1, 7),
        ]
        shown = dlq(here, "show", rows[0]["id"])
        assert BROKEN[0].decode() in shown
        assert re.search(r"header +content-type: application/json", shown)
        assert "there is no dead letter" in dlq(here, "show", ORGANIZATION, code=2)
        assert "choose dead letters" in dlq(here, "redrive", code=2)

        mend = tmp_path / "mend.json"
        mend.write_bytes(orjson.dumps({"replace": [["'", '"']], "headers": {"x-organization-id": ORGANIZATION}}))
        chosen = ("redrive", "--every", "--transform", str(mend))
        tried = dlq(here, *chosen, "--dry-run", code=1)
        assert "would be sent again: 3, not: 1" in tried
        assert "stream must be text" in tried
        assert len(event_ids(here)) == 1
        for _ in range(2):
            assert "sent again: 3, not: 1" in dlq(here, *chosen, code=1)
        until(lambda: len(event_ids(here)) == 7)
        found = event_ids(here)
        bodies = {body for body, _ in found}
        assert bodies == {b'{"n":0}', b'{"n": 1}', b'{"n": 2}', b'{"n":9}'}
        assert len({identity for _, identity in found}) == 4  # sent twice, and the same events

        # What is rejected again says that it was tried.
        assert "sent again: 1" in dlq(here, "redrive", rows[2]["id"], "--force")
        until(lambda: len(here.dead()) == 5)
        again = [letter for letter in here.dead().values() if letter.attempt == 2]
        assert len(again) == 1
        assert again[0].reason == "stream must be text"
        assert stopped(packer) == 0


def test_the_fuse_stops_a_packer_that_rejects_nearly_everything(own_broker: Broker, tmp_path: Path) -> None:
    with stage(own_broker, tmp_path) as here:
        here.send("events", [b"{}"] * 600, headers=[], partition=0)
        packer = _packer(here, "400", tmp_path / "fuse.log")
        assert ended(packer) == 2
        assert re.search(
            r"driftlock: \d+ of the last \d+ events were rejected: `driftlock dlq list`", last_line(packer)
        )
        rejected = len(here.dead())
        assert rejected < 400
        packer = _packer(here, "0", tmp_path / "off.log")
        until(lambda: len(here.dead()) == 600)
        assert stopped(packer) == 0


def _packer(here: Stage, fuse: str, log: Path) -> process.Child:
    environ = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "KAFKA_BROKERS": here.broker.bootstrap,
        "PACKER_FLUSH_BYTES": "8192",
        "PACKER_FUSE_EVENTS": fuse,
    }
    child = process.start("packer", [sys.executable, "-m", "pipeline.cli", "packer"], log=log, env=environ)
    here.children.append(child)
    return child
