"""A running stack is asked: the past again, an anomaly's evidence, why an event was one, what was rejected."""

import re
from pathlib import Path
from uuid import UUID

import orjson
import psycopg
import pytest

from pipeline.evidence.bundle import from_parts
from pipeline.evidence.container import unseal
from pipeline.stack import processes
from schemas.controls import SettingsControl
from schemas.topics import CONTROL
from tests.scenarios import fleet as fleets
from tests.scenarios import operations, stories
from tests.scenarios.operations import command
from tests.scenarios.stories import Story


@pytest.mark.timeout(300)
def test_an_operator_asks_a_running_stack(tmp_path: Path) -> None:
    with stories.running() as story:
        for program in (processes.PACKER, processes.WORKER, processes.SINK_ANOMALIES, processes.SINK_USAGE):
            fleets.enlist(story.fleet, program)
        worker = next(member for member in story.fleet.members if member.program == processes.WORKER)
        stories.feed(story, 14_000)
        _ask(story, 1_000)
        stories.until(story, lambda: stories.obeyed(worker) >= stories.PARTITIONS, 60, "the worker was not told")
        stories.feed(story, 3_000, burst_rate=0.004)
        stories.settle(story)
        # Floods are told at every sensitivity; a silence only because this organization asked for more.
        stories.until(story, lambda: _silences(story) > 0, 120, "no silence is told")
        stories.hold(story)

        before = _books(story)
        assert operations.nothing_differs(story)
        one = command(story, "replay", "--tenant", str(story.organization_id), "--stream", "stream-3")
        assert re.search(r"anomalies: \d+ same, 0 changed, 0 only then, 0 only now", one)
        assert re.search(r"cost, standard +\$49\.00 +\$49\.00", one)
        assert _books(story) == before
        assert f"{story.published.dead:,} dead letters" in command(story, "dlq", "list", code=1)

        anomaly, first, billed = _one(story)
        _evidence(story, anomaly, tmp_path, "billable" if billed else "warmup")
        explained = command(story, "explain", str(first))
        assert explained.startswith("anomaly: ")
        assert f"anomaly {anomaly}" in explained
        least = orjson.loads(command(story, "replay", "--sensitivity", "0", "--json", code=1))
        assert least["only_then"] > least["only_now"] == 0
        assert "there is no event" in command(story, "explain", str(UUID(int=1)), code=2)
        assert command(
            story, "explain", re.findall(r"(?m)^[0-9a-f-]{36}", command(story, "dlq", "list", code=1))[0]
        ).startswith("skipped: a dead letter of packer")


def _ask(story: Story, sensitivity: int) -> None:
    """The organization wants another sensitivity than the installation's, in thousandths."""
    said = SettingsControl(organization_id=story.organization_id, version=1, sensitivity=sensitivity)
    story.producer.produce(CONTROL.name, said.to_bytes(), said.key)
    assert story.producer.flush(30) == 0


def _evidence(story: Story, anomaly: UUID, folder: Path, disposition: str) -> None:
    key, trust, bundle = folder / "key", folder / "trust", folder / "bundle"
    trust.write_text(f"# ours\n{command(story, 'evidence', 'keygen', str(key))}", "utf-8")
    assert key.stat().st_mode & 0o777 == 0o600
    words = ("evidence", "export", str(anomaly), "-o", str(bundle))
    assert "EVIDENCE_SIGNING_KEY is not set" in command(story, *words, code=2)
    made = command(story, *words, EVIDENCE_SIGNING_KEY_FILE=str(key))
    assert "ledger entries, signed by" in made
    kept = from_parts(unseal(bundle.read_bytes()).parts)
    assert kept.steps[-1].asked.controls.sensitivity == 1
    said = _verify(story, bundle, "--trust", str(trust))
    assert "yes: the bundle is true" in said
    assert re.search(rf"ok +ledger +entry \d+: 1 {disposition}", said)
    assert "File exists" in command(story, *words, code=2, EVIDENCE_SIGNING_KEY_FILE=str(key))
    data = bytearray(bundle.read_bytes())
    data[-9] ^= 1
    bundle.write_bytes(data)
    assert re.search(r"FAIL +ledger", _verify(story, bundle, code=1))
    trust.write_text("0" * 64 + "\n", "utf-8")
    assert re.search(r"FAIL +signer", _verify(story, bundle, "--trust", str(trust), code=1))


def _verify(story: Story, bundle: Path, *words: str, code: int = 0) -> str:
    """Offline: nothing answers at these addresses."""
    return command(story, "verify", str(bundle), *words, code=code, KAFKA_BROKERS="127.0.0.1:1", DATABASE_URL_JOBS="")


def _one(story: Story) -> tuple[UUID, UUID, bool]:
    """The latest anomaly of an event, not of a silence: id, first event's id, whether it is billable."""
    with psycopg.connect(story.parts.postgres.url()) as connection:
        row = connection.execute(
            "SELECT id, first_event_id, calibrated FROM anomalies WHERE kind <> 'silence' AND organization_id = %s"
            " ORDER BY created_at DESC LIMIT 1",
            (story.organization_id,),
        ).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def _silences(story: Story) -> int:
    with psycopg.connect(story.parts.postgres.url()) as connection:
        (found,) = connection.execute("SELECT count(*) FROM anomalies WHERE kind = 'silence'").fetchone() or (0,)
    return int(found)


def _books(story: Story) -> list[tuple[object, ...]]:
    with psycopg.connect(story.parts.postgres.url()) as connection:
        return connection.execute("SELECT organization_id, seq, hash FROM ledger_heads ORDER BY 1").fetchall()
