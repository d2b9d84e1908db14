"""The one list of metrics is what the processes show: no more, no less, with bounded labels and units in the names."""

import asyncio
import importlib
import pkgutil
import re
import time
from contextlib import suppress

import httpx
import pytest
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

import dashboards
import pipeline
from pipeline import metrics
from pipeline.api.measured import Measured
from schemas.metrics import BY_NAME, LABELS, METRICS, Metric

_RUN = re.compile(r"__main__$")


def shown() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name → (type, labels) of all that any process of ours could show."""
    for package in (pipeline, dashboards):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not _RUN.search(module.name):
                importlib.import_module(module.name)
    found = {}
    for collector in set(REGISTRY._names_to_collectors.values()):
        if isinstance(collector, MetricWrapperBase) and collector._name.startswith("driftlock_"):
            name = collector._name + ("_total" if collector._type == "counter" else "")
            found[name] = (str(collector._type), tuple(collector._labelnames))
    return found


def test_what_is_listed_is_shown_and_what_is_shown_is_listed() -> None:
    assert shown() == {metric.name: (metric.kind, metric.labels) for metric in METRICS}
    assert len(BY_NAME) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_a_metric_is_named_by_its_unit_and_says_what_to_do(metric: Metric) -> None:
    assert re.fullmatch(r"driftlock_[a-z][a-z_]*[a-z]", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert ("seconds" in metric.unit) == ("_seconds" in metric.name)
    assert metric.name.endswith("_timestamp_seconds") == (metric.unit == "seconds since 1970")
    assert set(metric.labels) <= set(LABELS)
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert metric.what
    assert metric.todo


def test_every_label_that_is_described_is_used() -> None:
    assert {label for metric in METRICS for label in metric.labels} == set(LABELS)


@pytest.mark.parametrize("make", [metrics.counter, metrics.gauge, metrics.histogram])
def test_what_is_not_listed_can_not_be_counted(make: object) -> None:
    assert callable(make)
    with pytest.raises(AssertionError, match=r"schemas/metrics\.py"):
        make("driftlock_unheard_of_total")
    with pytest.raises(AssertionError, match=r"schemas/metrics\.py"):
        make("driftlock_worker_streams" if make is not metrics.gauge else "driftlock_worker_frames_total")


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def ask(app: FastAPI, requests: list[tuple[str, str]]) -> None:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for method, path in requests:
            await client.request(method, path)


def test_requests_are_counted_by_the_template_of_their_route() -> None:
    app = FastAPI()
    app.add_middleware(Measured)
    app.mount("/static", StaticFiles(directory=".", check_dir=False), "static")

    @app.get("/v1/organizations/{name}")
    def one(name: str) -> str:
        if name == "bad":
            raise RuntimeError(name)
        return name

    route = "/v1/organizations/{name}"
    before = {
        "ok": value("driftlock_http_requests_total", method="GET", route=route, status="200"),
        "bad": value("driftlock_http_requests_total", method="GET", route=route, status="500"),
        "none": value("driftlock_http_requests_total", method="other", route="none", status="404"),
        "static": value("driftlock_http_requests_total", method="GET", route="/static", status="404"),
        "timed": value("driftlock_http_request_seconds_count", route=route),
    }
    asks = [("GET", f"/v1/organizations/{name}") for name in ("secret-one", "secret-two", "bad")]
    asyncio.run(ask(app, [*asks, ("BREW", "/secret-three"), ("GET", "/static/secret-four")]))
    assert value("driftlock_http_requests_total", method="GET", route=route, status="200") == before["ok"] + 2
    assert value("driftlock_http_requests_total", method="GET", route=route, status="500") == before["bad"] + 1
    assert value("driftlock_http_requests_total", method="other", route="none", status="404") == before["none"] + 1
    assert value("driftlock_http_requests_total", method="GET", route="/static", status="404") == before["static"] + 1
    assert value("driftlock_http_request_seconds_count", route=route) == before["timed"] + 2
    assert value("driftlock_http_requests_in_flight") == 0
    labels = {v for family in REGISTRY.collect() for s in family.samples for v in s.labels.values()}
    assert not [label for label in labels if "secret" in label]


def test_the_loop_says_how_late_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "LOOP_EVERY_S", 0.01)

    async def watched() -> None:
        metrics.LOOP_LAG.set(-1)
        task = asyncio.create_task(metrics.watch_loop())
        await asyncio.sleep(0)
        time.sleep(0.1)  # noqa: ASYNC251 what blocks a loop
        await asyncio.sleep(0.05)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(watched())
    assert value("driftlock_event_loop_lag_seconds") >= 0
