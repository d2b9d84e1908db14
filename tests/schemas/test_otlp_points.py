"""What each kind of metric point becomes."""

from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from tests.schemas.batches import AT, metrics, pairs, told


def test_metric_points() -> None:
    gauge = Metric(name="cpu", unit="%")
    gauge.gauge.data_points.add(as_double=12.5, time_unix_nano=AT, attributes=pairs(core=0))
    gauge.gauge.data_points.add(as_int=-3)
    gauge.gauge.data_points.add(flags=1)
    total = Metric(name="requests")
    total.sum.aggregation_temporality, total.sum.is_monotonic = 2, True  # type: ignore[assignment]
    total.sum.data_points.add(as_int=5)
    spread = Metric(name="latency", unit="s")
    spread.histogram.aggregation_temporality = 1  # type: ignore[assignment]
    spread.histogram.data_points.add(
        count=6, sum=4.5, min=0.1, max=3.0, explicit_bounds=[0.5, 1], bucket_counts=[3, 2, 1]
    )
    scaled = Metric(name="size")
    point = scaled.exponential_histogram.data_points.add(count=3, scale=2, zero_count=1)
    point.positive.offset = -1
    point.positive.bucket_counts.extend([0, 2])
    old = Metric(name="old")
    old.summary.data_points.add(count=9, sum=float("inf")).quantile_values.add(quantile=0.99, value=7.0)
    events = told(metrics(gauge, total, spread, scaled, old, Metric(name="none"), service__name="cart"), "metrics")
    assert [stream for _, stream, _ in events] == [
        f"metrics:cart:{n}" for n in ("cpu", "cpu", "cpu", "requests", "latency", "size", "old")
    ]
    shared = {"resource": {"service.name": "cart"}}
    assert [event for event, _, _ in events] == [
        shared | said
        for said in (
            {
                "metric": "cpu",
                "unit": "%",
                "type": "gauge",
                "value": 12.5,
                "attributes": {"core": 0},
                "time": "2026-03-02T10:37:00.123456789Z",
            },
            {"metric": "cpu", "unit": "%", "type": "gauge", "value": -3},
            {"metric": "cpu", "unit": "%", "type": "gauge", "no_recorded_value": True},
            {"metric": "requests", "type": "sum", "temporality": "cumulative", "monotonic": True, "value": 5},
            {
                "metric": "latency",
                "unit": "s",
                "type": "histogram",
                "temporality": "delta",
                "count": 6,
                "sum": 4.5,
                "min": 0.1,
                "max": 3.0,
                "buckets": {"0.5": 3, "1": 2, "Infinity": 1},
            },
            {
                "metric": "size",
                "type": "exponential_histogram",
                "count": 3,
                "scale": 2,
                "zero_count": 1,
                "positive": {"0": 2},
            },
            {"metric": "old", "type": "summary", "count": 9, "sum": "Infinity", "quantiles": {"0.99": 7.0}},
        )
    ]
