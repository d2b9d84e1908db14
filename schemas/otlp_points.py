"""Metric points of OTLP as members of an event.

| kind | members, in this order |
|---|---|
| all | metric, unit, type, temporality, monotonic, ..., attributes |
| gauge, sum | value |
| histogram | count, sum, min, max, buckets: number by upper bound (`"0.5"`, the last one `"Infinity"`) |
| exponential histogram | count, sum, min, max, scale, zero_count, zero_threshold, positive, negative: number by index of the bucket |
| summary | count, sum, quantiles: value by quantile |

Each number has a path of its own, so that the detector reads it as a series. Counts are those of the point: with temporality `cumulative`
they only grow, and the detector takes such a series by its steps. A point that says that nothing was recorded has `no_recorded_value`
in place of its numbers. The metric's description and exemplars are not kept.
"""

from collections.abc import Sequence
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    DataPointFlags,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    SummaryDataPoint,
)

from schemas.otlp_events import number

Point = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint | SummaryDataPoint

_TEMPORALITIES = ("", "delta", "cumulative")
_NOTHING = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK


def head(metric: Metric) -> dict[str, Any]:
    """What all points of a metric share."""
    kind = metric.WhichOneof("data")
    said: dict[str, Any] = {"metric": metric.name, "unit": metric.unit, "type": kind}
    if kind in {"sum", "histogram", "exponential_histogram"}:
        temporality = int(getattr(metric, kind).aggregation_temporality)
        said["temporality"] = _TEMPORALITIES[temporality] if temporality < len(_TEMPORALITIES) else str(temporality)
    if kind == "sum":
        said["monotonic"] = metric.sum.is_monotonic
    return said


def points(metric: Metric) -> Sequence[Point]:
    """The points of a metric; none where it has no kind that is known."""
    kind = metric.WhichOneof("data")
    found: Sequence[Point] = getattr(metric, kind).data_points if kind else ()
    return found


def only(metric: Metric, index: int) -> Metric:
    """The metric with one of its points alone."""
    kind = metric.WhichOneof("data")
    one = Metric(name=metric.name, unit=metric.unit, description=metric.description)
    if kind:
        data, kept = getattr(metric, kind), getattr(one, kind)
        for name in ("aggregation_temporality", "is_monotonic"):
            if hasattr(data, name):
                setattr(kept, name, getattr(data, name))
        kept.data_points.append(data.data_points[index])
    return one


def members(point: Point) -> dict[str, Any]:
    """What a point itself says."""
    if point.flags & _NOTHING:
        return {"no_recorded_value": True}
    match point:
        case NumberDataPoint():
            kind = point.WhichOneof("value")
            value = None if kind is None else point.as_int if kind == "as_int" else number(point.as_double)
            return {"value": value}
        case SummaryDataPoint():
            quantiles = {f"{v.quantile:g}": number(v.value) for v in point.quantile_values}
            return {"count": point.count, "sum": number(point.sum), "quantiles": quantiles}
        case HistogramDataPoint():
            bounds = [*(f"{bound:g}" for bound in point.explicit_bounds), "Infinity"]
            buckets = dict(zip(bounds, point.bucket_counts, strict=False))
            return _distribution(point) | {"buckets": buckets}
        case _:
            return _distribution(point) | {
                "scale": point.scale,
                "zero_count": point.zero_count,
                "zero_threshold": number(point.zero_threshold) if point.zero_threshold else None,
                "positive": _buckets(point.positive),
                "negative": _buckets(point.negative),
            }


def _distribution(point: HistogramDataPoint | ExponentialHistogramDataPoint) -> dict[str, Any]:
    said: dict[str, Any] = {"count": point.count}
    for name in ("sum", "min", "max"):
        if point.HasField(name):
            said[name] = number(getattr(point, name))
    return said


def _buckets(of: ExponentialHistogramDataPoint.Buckets) -> dict[str, int]:
    """Counts by the index of their bucket; those of none are left out, as an exponential histogram may have hundreds."""
    return {str(of.offset + i): count for i, count in enumerate(of.bucket_counts) if count}
