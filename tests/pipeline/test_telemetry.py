"""What every process says of itself: one JSON object a line, with ids; health, readiness and metrics on a port."""

import json
import logging
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from pipeline import telemetry
from schemas.settings import load

TALK = """
import logging, structlog
from opentelemetry import trace
from pipeline import telemetry
from schemas.settings import load
telemetry.configure(load({"ENVIRONMENT": "here"}), "talker")
with trace.get_tracer("t").start_as_current_span("work"):
    structlog.get_logger("ours").info("said", organization_id="o-1")
logging.getLogger("theirs").warning("library %s", "line")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger("ours").exception("failed")
"""


def lines() -> list[dict[str, str]]:
    done = subprocess.run([sys.executable, "-c", TALK], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_every_line_is_json_with_process_and_ids() -> None:
    ours, theirs, failed = lines()
    assert (ours["event"], ours["process"], ours["environment"], ours["organization_id"]) == (
        "said",
        "talker",
        "here",
        "o-1",
    )
    assert len(ours["trace_id"]) == 32
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("library line", "warning", "theirs")
    assert "ZeroDivisionError" in failed["exception"]


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_readiness_says_why_not_and_health_does_not_ask() -> None:
    wrong = ["kafka is away"]
    port = telemetry.serve(load({}), {"kafka": lambda: wrong[0]})
    assert ask(port, "/healthz")[0] == 200
    status, body = ask(port, "/readyz")
    assert (status, json.loads(body)["failing"]) == (503, {"kafka": "kafka is away"})
    wrong[0] = ""
    assert ask(port, "/readyz")[0] == 200
    assert "python_info" in ask(port, "/metrics")[1]
    assert ask(port, "/anything")[0] == 404


def test_who_hangs_is_not_alive_and_says_why() -> None:
    hangs = [""]
    port = telemetry.serve(load({}), {}, {"partitions": lambda: hangs[0]})
    assert ask(port, "/healthz") == (200, '{"status":"ok"}')
    hangs[0] = "nothing moved"
    status, body = ask(port, "/healthz")
    assert (status, json.loads(body)["failing"]) == (503, {"partitions": "nothing moved"})
    assert ask(port, "/readyz")[0] == 200


@pytest.mark.parametrize(("later", "passes"), [(9.0, False), (10.0, True)])
def test_a_repeated_line_passes_once_in_ten_seconds(later: float, *, passes: bool) -> None:
    now = [0.0]
    once = telemetry.Once(lambda: now[0])
    record = logging.LogRecord("k", logging.ERROR, "", 0, "broker 1 failed after 17 ms", None, None)
    assert once.filter(record)
    now[0] = later
    again = logging.LogRecord("k", logging.ERROR, "", 0, "broker 1 failed after 230 ms", None, None)
    assert once.filter(again) is passes
    other = logging.LogRecord("k", logging.ERROR, "", 0, "another", None, None)
    assert once.filter(other)
