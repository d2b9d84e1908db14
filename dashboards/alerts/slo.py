"""Service levels, and what rings when their budget of errors burns too fast.

Several windows and burn rates (Google, The Site Reliability Workbook, chapter 5): 2 % of a month's budget in an hour, 5 % in
six hours, 10 % in three days; each also over a short window, so that it stops ringing when the fault ends.
"""

from dataclasses import dataclass

from dashboards.alerts.rules import Alert, Severity


@dataclass(frozen=True)
class Level:
    """One service level: `bad` and `all` are PromQL rates with WINDOW in place of the window."""

    name: str
    objective: float
    what: str
    bad: str
    all: str
    do: str

    def ratio(self, window: str) -> str:
        """PromQL: the share of what was bad."""
        return f"({self.bad}) / ({self.all})".replace("WINDOW", window)

    def recorded(self, window: str) -> str:
        """The name under which the share is recorded."""
        return f"slo:{self.name}:errors_{window}"


LEVELS = (
    Level(
        "event_to_anomaly",
        0.99,
        "99 % of anomalies are stored within one second of the event that made them be reported, over 30 days",
        'sum(rate(driftlock_event_to_anomaly_seconds_count[WINDOW])) - sum(rate(driftlock_event_to_anomaly_seconds_bucket{le="1.0"}[WINDOW]))',
        "sum(rate(driftlock_event_to_anomaly_seconds_count[WINDOW]))",
        "Where does it wait: the packer's lag, the worker's age, the sink's record age (dashboard SLO)? The alerts of that part say what to do.",
    ),
    Level(
        "api",
        0.999,
        "99.9 % of requests to the API are answered without an error of ours (5xx), over 30 days",
        'sum(rate(driftlock_http_requests_total{job="api",status=~"5.."}[WINDOW])) or vector(0)',
        'sum(rate(driftlock_http_requests_total{job="api"}[WINDOW]))',
        "By route and status (dashboard API): 503 means that PostgreSQL or Kafka does not answer, 500 is a fault of ours: the log names its class and line.",
    ),
)

WINDOWS = ("5m", "30m", "1h", "6h", "3d")
_RATES: tuple[tuple[str, float, str, str, Severity, int], ...] = (
    ("Fast", 14.4, "1h", "5m", "critical", 2),
    ("Steady", 6.0, "6h", "30m", "critical", 15),
    ("Slow", 1.0, "3d", "6h", "warning", 60),
)


def _alert(level: Level, name: str, rate: float, long: str, short: str, severity: Severity, minutes: int) -> Alert:
    least = f"{rate * (1 - level.objective):.6g}"
    title = "".join(word.capitalize() for word in level.name.split("_"))
    return Alert(
        f"{title}Burns{name}",
        severity,
        minutes,
        f"{level.recorded(long)} > {least} and {level.recorded(short)} > {least}",
        f"{{{{ $value | humanizePercentage }}}} bad over {long}: {rate:g} times what a month allows",
        f"{level.what}. At this rate the month's budget lasts {30 / rate:.2g} days.",
        level.do,
    )


RECORDED = tuple((level.recorded(window), level.ratio(window)) for level in LEVELS for window in WINDOWS)
"""(name, PromQL) of the recorded shares."""
BURNING = tuple(_alert(level, *rate) for level in LEVELS for rate in _RATES)
