"""A panel's queries run as Grafana runs them: on a real Prometheus and a real PostgreSQL, its macros and variables filled in."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg

from dashboards.grafana.panels import Board, Panel
from pipeline.embedded import deployment, process
from pipeline.embedded.ports import LOOPBACK, free_ports
from tests.stack.providers import needed

_STEPS = 120


@dataclass(frozen=True)
class Range:
    """What is shown: from, to (seconds since 1970), and Grafana's $__rate_interval in seconds."""

    start: float
    end: float
    rate_s: int


Points = list[tuple[str, list[tuple[float, float]]]]
"""Of each series: its legend, and (time, value)."""


@contextmanager
def prometheus(folder: Path, config: Path) -> Iterator[str]:
    """A Prometheus with that configuration, its blocks in `folder`; gives its address."""
    program = needed(deployment.prometheus) / "prometheus"
    (port,) = free_ports(1)
    words = [f"--config.file={config}", f"--storage.tsdb.path={folder}", f"--web.listen-address={LOOPBACK}:{port}"]
    child = process.start(
        "prometheus", [program, *words, "--storage.tsdb.retention.time=30d"], log=folder.parent / "prometheus.log"
    )
    url = f"http://{LOOPBACK}:{port}"
    try:
        process.wait_ready(child, lambda: _answers(f"{url}/-/ready"), timeout_s=60)
        yield url
    finally:
        process.stop(child, grace_s=5)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def promql(url: str, panel: Panel, shown: Range) -> list[Points]:
    """The series of each query of a panel; AssertionError with Prometheus' words where it refuses one."""
    found = []
    for query in panel.queries:
        text = query.text.replace("$__rate_interval", f"{shown.rate_s}s").replace(
            "$__range", f"{int(shown.end - shown.start)}s"
        )
        if panel.kind == "timeseries":
            step = max(1, int((shown.end - shown.start) / _STEPS))
            asked: dict[str, str | float] = {"query": text, "start": shown.start, "end": shown.end, "step": step}
            answer = httpx.get(f"{url}/api/v1/query_range", params=asked, timeout=60).json()
        else:
            answer = httpx.get(f"{url}/api/v1/query", params={"query": text, "time": shown.end}, timeout=60).json()
        assert answer["status"] == "success", f"{panel.title}: {query.text}: {answer.get('error')}"
        found.append([(_legend(query.legend, one["metric"]), _points(one)) for one in answer["data"]["result"]])
    return found


def _points(series: Mapping[str, Any]) -> list[tuple[float, float]]:
    return [(float(at), float(value)) for at, value in series.get("values") or [series["value"]]]


def _legend(template: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda m: labels.get(m[1], ""), template)


def sql(url: str, panel: Panel, shown: Range, organization_id: UUID | None) -> list[dict[str, Any]]:
    """The rows of a panel's query, asked as the role of the URL, in a transaction of its own that is read only."""
    (query,) = panel.queries
    given = "" if organization_id is None else str(organization_id)
    text = query.text.replace("${organization:sqlstring}", f"'{given}'")
    start, end = (datetime.fromtimestamp(at, UTC).isoformat() for at in (shown.start, shown.end))
    text = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN '{start}' AND '{end}'", text)
    text = re.sub(r"\$__timeGroup\((\w+), '1h'\)", r"date_bin('1 hour', \1, 'epoch')", text)
    assert "$" not in text, text
    with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as connection:
        connection.read_only = True
        return connection.execute(text.encode()).fetchall()


def by_source(board: Board, source: str) -> list[Panel]:
    """The panels of a dashboard that ask one source."""
    return [panel for panel in board.panels if panel.source == source]
