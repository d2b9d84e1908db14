"""What `driftlock dev` shows: each process, its rates, lag and the anomalies, read from the processes' own metrics."""

import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table

from pipeline.stack.components import Components
from pipeline.stack.supervisor import Supervisor

Samples = Mapping[str, float]
"""Metric name (labels summed up) → value."""


@dataclass
class Seen:
    """The last reading of each process and when it was made (seconds of any clock)."""

    at: float = 0.0
    values: dict[str, Samples] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)


def read(port: int) -> Samples:
    """The sums of a process's metrics; empty where it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=1) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, OSError):
        return {}
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def look(components: Components, before: Seen, now: float) -> Seen:
    """Read every process; rates are events per second since `before`."""
    values = {name: read(port) for name, port in components.ports.items()}
    rates = {}
    for name, metric in _COUNTED.items():
        new, old = values.get(name, {}).get(metric), before.values.get(name, {}).get(metric)
        if new is not None and old is not None and now > before.at:
            rates[name] = max(0.0, (new - old) / (now - before.at))
    return Seen(now, values, rates)


_COUNTED = {
    "packer": "driftlock_packer_events_total",
    "worker": "driftlock_worker_events_total",
    "sink-anomalies": "driftlock_sink_records_total",
    "sink-usage": "driftlock_sink_records_total",
    "meter": "driftlock_meter_hours_total",
    "control": "driftlock_control_messages_total",
}


_LAG = {
    "packer": "driftlock_packer_lag_records",
    "sink-anomalies": "driftlock_sink_lag_records",
    "sink-usage": "driftlock_sink_lag_records",
    "meter": "driftlock_meter_waiting_hours",
    "control": "driftlock_control_waiting_messages",
}


def screen(components: Components, supervisor: Supervisor, seen: Seen, now: float) -> Table:
    """One table: a line for each component and process."""
    table = Table(title="DriftLock", caption=f"logs: {components.logs}   Ctrl-C stops everything")
    for column in ("process", "state", "handled", "a second", "lag", "note"):
        table.add_column(column, justify="right" if column in {"handled", "a second", "lag"} else "left")
    table.add_row("broker", "up", "", "", "", f"{components.broker.name} at {components.broker.bootstrap}")
    table.add_row("PostgreSQL", "up", "", "", "", f"port {components.postgres.port}")
    table.add_row(
        "Stripe (fake)", "up" if components.stripe.alive() else "[red]dead", "", "", "", components.stripe_url
    )
    packed = seen.values.get("packer", {}).get(_COUNTED["packer"], 0.0)
    scored = seen.values.get("worker", {}).get(_COUNTED["worker"], 0.0)
    for one in supervisor.watched:
        name = one.program.name
        state = "up" if one.restart_at is None else f"[red]dead, again in {max(0.0, one.restart_at - now):.0f} s"
        values = seen.values.get(name, {})
        handled = values.get(_COUNTED.get(name, ""))
        note = f"restarted {one.deaths} times; {one.last_words[:80]}" if one.deaths else ""
        if name == "worker" and not note:
            revisions = values.get("driftlock_worker_anomaly_revisions_total", 0.0)
            note = f"anomaly revisions {revisions:.0f}"
        if name == "api" and not note:
            note = f"http://127.0.0.1:{components.ports[name]}/readyz"
        if name == "console" and not note:
            note = components.environ["CONSOLE_URL"]
        lag = max(0.0, packed - scored) if name == "worker" else values.get(_LAG.get(name, ""))
        rate = f"{seen.rates[name]:.0f}" if name in seen.rates else ""
        shown = ["" if value is None else f"{value:.0f}" for value in (handled, lag)]
        table.add_row(name, state, shown[0], rate, shown[1], note)
    return table
