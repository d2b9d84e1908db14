"""The API and the console: requests, errors, durations; pools; the event loop."""

from dashboards.grafana.panels import Board, Panel, Query, quantile, rate, zero

_REQUESTS = "driftlock_http_requests_total"
_FAILED = rate(_REQUESTS, "job", '{status=~"5.."}')

BOARD = Board(
    "driftlock-api",
    "DriftLock: API and console",
    "Requests, errors, durations (RED), and what they wait for.",
    (
        Panel("Requests", "By status.", (Query(rate("driftlock_http_requests_total", "job, status"), "{{job}} {{status}}"),), "reqps"),
        Panel("Errors of ours", "Share of 5xx; the service level allows 0.1 %.", (
            Query(zero(f"{_FAILED} / {rate(_REQUESTS, 'job')}"), "{{job}}"),
        ), "percentunit"),
        Panel("Requests by route", "", (Query(f"topk(20, {rate('driftlock_http_requests_total', 'method, route')})", "{{method}} {{route}}"),), "reqps"),
        Panel("Until the answer begins, by route", "99 %.", (Query(quantile(0.99, "driftlock_http_request_seconds", "route"), "{{route}}"),), "s"),
        Panel("Until the answer begins", "", (
            Query(quantile(0.5, "driftlock_http_request_seconds", "job"), "{{job}}, half"),
            Query(quantile(0.99, "driftlock_http_request_seconds", "job"), "{{job}}, 99 %"),
        ), "s"),
        Panel("Being answered", "Open streams among them.", (Query("sum by (job) (driftlock_http_requests_in_flight)", "{{job}}"),)),
        Panel("Database pools", "Used at a pool's size: who comes must wait.", (
            Query("sum by (job, pool, state) (driftlock_pool_connections)", "{{job}} {{pool}} {{state}}"),
            Query("sum by (job, pool) (driftlock_pool_waiting)", "{{job}} {{pool}} waiting"),
        )),
        Panel("Lateness of the event loop", "", (Query("max by (job) (driftlock_event_loop_lag_seconds)", "{{job}}"),), "s"),
    ),
)  # fmt: skip
