"""What the detector finds, and whether p-values are what they say."""

from dashboards.grafana.panels import Board, Panel, Query, quantile, rate

_SCORED = 'sum(increase(driftlock_worker_events_total{outcome="scored"}[$__range]))'


def _at_least(bits: int) -> str:
    levels = "|".join(str(n) for n in range(bits, 25))
    return f'(sum(increase(driftlock_worker_opened_total{{bits=~"{levels}"}}[$__range])) or vector(0))'


BOARD = Board(
    "driftlock-detection",
    "DriftLock: detection",
    "Anomalies by severity; observed against nominal rates of opened episodes.",
    (
        Panel("Anomalies", "Reported episodes an hour by severity.", (Query(f"3600 * {rate('driftlock_worker_anomalies_total', 'severity')}", "{{severity}}"),)),
        Panel("Revisions for an anomaly", "One when reported, one at each doubling, one at the end.", (
            Query(f"{rate('driftlock_worker_anomaly_revisions_total')} / {rate('driftlock_worker_anomalies_total')}", "revisions"),
        )),
        Panel("Opened episodes, an event: observed against nominal", "In the range shown. Without anomalies an observed share is at most its nominal one; faults lift it.", tuple(
            query for bits in (7, 10, 13) for query in (
                Query(f"{_at_least(bits)} / {_SCORED}", f"observed, p up to 2^-{bits}"),
                Query(f"vector({2.0**-bits})", f"nominal, p up to 2^-{bits}"),
            )
        ), "percentunit", width=24),
        Panel("Opened episodes by -log2 p", "Each step to the right should be half as high, but for faults.", (
            Query("sum by (bits) (increase(driftlock_worker_opened_total[$__range]))", "{{bits}} bits"),
        ), kind="bargauge"),
        Panel("Score of reported episodes", "Bits.", (
            Query(quantile(0.5, "driftlock_worker_anomaly_bits"), "half"),
            Query(quantile(0.9, "driftlock_worker_anomaly_bits"), "90 %"),
        )),
        Panel("Events by outcome", "duplicate: an id came again; dead_letter: 0.", (Query(rate("driftlock_worker_events_total", "outcome"), "{{outcome}}"),), "eps"),
        Panel("From an event to its anomaly", "The service level: 99 % below 1 s.", (
            Query(quantile(0.5, "driftlock_event_to_anomaly_seconds"), "half"),
            Query(quantile(0.99, "driftlock_event_to_anomaly_seconds"), "99 %"),
        ), "s"),
    ),
)  # fmt: skip
