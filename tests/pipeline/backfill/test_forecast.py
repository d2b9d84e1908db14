"""A forecast says what a scan at that sensitivity finds, and the bill of a month like it."""

import random
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from billing import plans
from billing.price import price
from detectors.detector import Controls
from pipeline.backfill.forecast import NAMED, forecast
from pipeline.scan.offline import Scan, batches, findings, score_batch
from pipeline.scan.parse import Fields
from pipeline.scan.read import Line

RATES = {name: plans.latest(name) for name in ("developer", "standard", "growth")}
FIELDS = Fields(event="event", stream="stream", time="ts")
HOURS = 3


def telemetry(events: int = 5_000) -> list[Line]:
    """Two streams over three hours, with odd lines and bursts once they are warm."""
    rng = random.Random(3)
    made = []
    burst = 0
    for n in range(events):
        burst = 50 if n > 2_600 and rng.random() < 0.002 else max(0, burst - 1)
        body = (
            f"upstream timed out {rng.randrange(9)}"
            if burst
            else f"GET /orders/{rng.randrange(999)} in {rng.randrange(90)} ms"
        )
        if n > 2_600 and rng.random() < 0.01:
            body = f"panic <{rng.randbytes(4).hex()}> in rule"
        row = {"event": body, "stream": "ab"[n % 2], "ts": 1_700_000_000_000 + n * HOURS * 3_600_000 // events}
        made.append(Line("f", n + 1, orjson.dumps(row)))
    return made


def test_it_is_a_scan_at_each_sensitivity_priced() -> None:
    lines = telemetry()
    course, found = forecast(lines, FIELDS, 10, RATES)
    assert (course.events, course.streams, course.warm) == (5_000, 2, 2)
    assert course.span == HOURS * 3_600_000 * 4_999 // 5_000
    assert [one.name for one in found] == list(NAMED)
    for one in found:
        scan = Scan(FIELDS, Controls(one.sensitivity, 10))
        for batch in batches(lines):
            score_batch(scan, batch)
        told = findings(scan, None)
        assert (one.episodes, one.units) == (len(told), sum(f.update.calibrated for f in told))
        assert one.month is not None
        assert abs(one.month - one.units * 24 * 30 / HOURS) < 1
        for cost in one.costs:
            bill = price(RATES[cost.plan], one.month)
            assert (cost.cents, cost.over) == (bill.total_cents, one.month - bill.billable)
    assert found[0].units <= found[1].units <= found[2].units
    assert found[0].units < found[2].units


def test_without_times_there_is_no_month() -> None:
    course, found = forecast(telemetry(200), Fields(event="event", stream="stream"), 10, RATES)
    assert (course.span, course.warm, found[0].month) == (0, 0, None)


@pytest.mark.parametrize(
    ("words", "code", "said"), [(["--time-field", "ts"], 0, "strict (0.25)"), (["--plan", "gold"], 2, "no plan 'gold'")]
)
def test_the_command(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join(line.data for line in telemetry(300)))
    command = [sys.executable, "-m", "pipeline.cli", "backfill", str(file), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
