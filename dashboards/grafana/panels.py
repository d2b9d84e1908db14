"""What a dashboard is: panels with queries, as plain data."""

from dataclasses import dataclass
from typing import Literal

Source = Literal["prometheus", "postgres"]
Kind = Literal["timeseries", "stat", "table", "bargauge"]


@dataclass(frozen=True)
class Query:
    """One query. `legend` as Grafana spells it: {{label}}. Of PostgreSQL: SQL with Grafana's macros."""

    text: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel; `unit` is Grafana's id of a unit, `what` what to see in it. Width in Grafana's 24 columns."""

    title: str
    what: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 12
    source: Source = "prometheus"


@dataclass(frozen=True)
class Board:
    """One dashboard; `variables` are text boxes: name → label."""

    uid: str
    title: str
    what: str
    panels: tuple[Panel, ...]
    variables: tuple[tuple[str, str], ...] = ()


def rate(metric: str, by: str = "", where: str = "") -> str:
    """PromQL: the sum of a counter's rates."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{where}[$__rate_interval]))"


def zero(expr: str) -> str:
    """PromQL: 0 where nothing was counted yet."""
    return f"{expr} or vector(0)"


def quantile(q: float, metric: str, by: str = "", where: str = "") -> str:
    """PromQL: a quantile of a histogram."""
    return f"histogram_quantile({q}, sum by ({', '.join(filter(None, ('le', by)))}) (rate({metric}_bucket{where}[$__rate_interval])))"


def age(metric: str, by: str = "") -> str:
    """PromQL: seconds since a timestamp, once there is one."""
    return f"time() - max{f' by ({by})' if by else ''} ({metric} > 0)"
