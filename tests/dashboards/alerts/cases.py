"""For each alert: series under which it fires, and series near by under which it does not. One value a minute, from time 0, where no other step is given.

`A+BxN` is Prometheus' notation: A, then N times B more.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Series = Mapping[str, str]

NOW = "0+60x200"
"""A timestamp that goes with time."""
STANDS = "0+60x5 300+0x195"
"""One that stands still after five minutes."""
JOBS = "driftlock_jobs_progress_timestamp_seconds"
RECONCILED = "driftlock_reconcile_timestamp_seconds"
RESYNCED = "driftlock_webhook_resynced_timestamp_seconds"


@dataclass(frozen=True)
class Case:
    """Looked at after `minutes`; a value, and a judgement of the rules, each `every` minutes."""

    fires: Series
    quiet: Series
    minutes: int = 30
    every: int = 1


def level(name: str, fires: str, quiet: str, minutes: int = 30) -> Case:
    """One series that has one value or another."""
    return Case({name: fires}, {name: quiet}, minutes)


def _latency(good: str, every: str) -> Series:
    return {
        'driftlock_event_to_anomaly_seconds_bucket{le="1.0"}': good,
        "driftlock_event_to_anomaly_seconds_count": every,
    }


def _requests(good: str, bad: str) -> Series:
    return {
        'driftlock_http_requests_total{job="api",status="200"}': good,
        'driftlock_http_requests_total{job="api",status="503"}': bad,
        'driftlock_http_requests_total{job="console",status="500"}': "0+1000x10000",
    }


def _age(name: str, fast: str, slow: str, labels: str = "") -> Series:
    more = f",{labels}" if labels else ""
    return {
        f'{name}_bucket{{le="0.5"{more}}}': fast,
        f'{name}_bucket{{le="30.0"{more}}}': slow,
        f'{name}_bucket{{le="+Inf"{more}}}': slow,
    }


def _worker(first: str, second: str, packer: str) -> Series:
    name = "driftlock_worker_progress_timestamp_seconds"
    return {
        f'{name}{{partition="0",instance="a"}}': first,
        f'{name}{{partition="1",instance="a"}}': second,
        "driftlock_packer_progress_timestamp_seconds": packer,
    }


CASES = {
    "ProcessDown": Case({'up{job="api"}': "1 1 0x30"}, {'up{job="api"}': "1 0 1x30", 'up{job="packer"}': "1x30"}),
    "ProcessRestarts": level("process_start_time_seconds", "0 0 300 300 600 600 900 900 1200+0x21", "0 0 300 300 600 600 900+0x24"),
    "EventLoopBlocked": level("driftlock_event_loop_lag_seconds", "0.7x30", "0.7x24 0 0.7x5"),
    "FilesExhausted": Case(
        {"process_open_fds": "900x30", "process_max_fds": "1024x30"},
        {"process_open_fds": "700x30", "process_max_fds": "1024x30"},
    ),
    "PackerStuck": level("driftlock_packer_progress_timestamp_seconds", STANDS, NOW),
    "PackerFallsBehind": level('driftlock_packer_lag_records{topic="events"}', "0+1000x30", "90000-1000x30", 25),
    "PackerBlocked": level("driftlock_packer_blocked_seconds_total", "0+50x30", "0+10x30"),
    "WorkerStuck": Case(_worker(NOW, STANDS, NOW), _worker(NOW, "0+60x200", NOW)),
    "WorkerSlow": Case(
        _age("driftlock_worker_age_seconds", "0+10x30", "0+100x30"),
        _age("driftlock_worker_age_seconds", "0+100x30", "0+100x30"),
    ),
    "NothingScored": Case(
        {"driftlock_packer_events_total": "0+600x30", 'driftlock_worker_events_total{outcome="scored"}': "0+600x10 6000x20"},
        {"driftlock_packer_events_total": "0+600x30", 'driftlock_worker_events_total{outcome="scored"}': "0+1x30"},
    ),
    "SinkStuck": level('driftlock_sink_progress_timestamp_seconds{sink="sink-usage"}', STANDS, NOW),
    "SinkFallsBehind": level('driftlock_sink_lag_records{sink="sink-usage",partition="0"}', "0+1000x30", "5000-1x30"),
    "SinkRetries": level('driftlock_sink_retries_total{sink="sink-usage"}', "0+10x30", "0x10 1x20"),
    "DeadLetters": Case(
        {'driftlock_packer_dead_letters_total{reason="json"}': "0+10x60", "driftlock_packer_events_total": "0+100x60"},
        {'driftlock_packer_dead_letters_total{reason="json"}': "0+10x60", "driftlock_packer_events_total": "0+10000x60"},
        50,
    ),
    "OurDeadLetters": Case(
        {'driftlock_sink_records_total{sink="sink-usage",fate="rejected"}': "0x10 1x20"},
        {
            'driftlock_sink_records_total{sink="sink-usage",fate="written"}': "0+9x30",
            'driftlock_worker_events_total{outcome="dead_letter"}': "5x30",
        },
    ),
    "StreamsOverLimit": level("driftlock_worker_organizations_over_limit_total", "0x10 1x20", "1x30"),
    "FalseAlarmsAboveNominal": Case(
        {'driftlock_worker_opened_total{bits="10"}': "0+50x100", 'driftlock_worker_events_total{outcome="scored"}': "0+6000x100"},
        {
            'driftlock_worker_opened_total{bits="10"}': "0+6x100",
            'driftlock_worker_opened_total{bits="8"}': "0+999x100",
            'driftlock_worker_events_total{outcome="scored"}': "0+6000x100",
        },
        95,
        every=5,
    ),
    "HoursWait": level("driftlock_meter_oldest_waiting_seconds", "7300x30", "7100x30"),
    "HoursWaitLong": level("driftlock_meter_oldest_waiting_seconds", "700000x30", "500000x30"),
    "HoursRefused": Case(
        {'driftlock_meter_hours_total{outcome="too_old"}': "0x10 1x20"},
        {'driftlock_meter_hours_total{outcome="sent"}': "0+5x30", 'driftlock_meter_hours_total{outcome="refused"}': "3x30"},
    ),
    "BillingDiffers": level("driftlock_reconcile_ringing", "1x30", "0x30"),
    "ReconcileOld": Case({RECONCILED: "60x50"}, {RECONCILED: "0x50"}, 200, every=5),
    "MoneyAlarm": level('driftlock_alarms_ringing{kind="difference"}', "1x30", "0x30"),
    "PassesFail": Case(
        {'driftlock_webhook_failed_passes_total{error="OperationalError"}': "0+2x30"},
        {'driftlock_meter_failed_passes_total{error="OperationalError"}': "0x5 1x25"},
    ),
    "JobsOld": Case({JOBS: "60x50"}, {JOBS: "0+300x50"}, 90, every=5),
    "WebhooksWait": level("driftlock_webhook_oldest_waiting_seconds", "4000x30", "3500x30"),
    "WebhookDead": level("driftlock_webhook_dead_events", "1x30", "0x30"),
    "WebhooksRefused": level('driftlock_webhook_received_total{answer="400"}', "0+1x30", "0x20 1x10"),
    "ResyncOld": Case({RESYNCED: "60x60"}, {RESYNCED: "60 60 0+3600x60"}, 3_000, every=60),
    "ControlWaits": level("driftlock_control_waiting_messages", "3x30", "0x30"),
    "MailsWait": level("driftlock_alerts_oldest_waiting_seconds", "4000x30", "3500x30"),
    "MailsDead": level("driftlock_alerts_dead", "1x30", "0x30"),
    "Rescored": level("driftlock_sink_rescored_total", "0x10 1x20", "4x30"),
    "ApiSlow": Case(
        _age("driftlock_http_request_seconds", "0+10x30", "0+100x30", 'job="api"'),
        _age("driftlock_http_request_seconds", "0+10x30", "0+100x30", 'job="console"'),
    ),
    "PoolExhausted": level('driftlock_pool_waiting{pool="database_url_api"}', "3x30", "3x28 0 3x1"),
    "EventToAnomalyBurnsFast": Case(_latency("0+80x100", "0+100x100"), _latency("0+90x100", "0+100x100"), 30),
    "EventToAnomalyBurnsSteady": Case(_latency("0+93x100", "0+100x100"), _latency("0+95x100", "0+100x100"), 30),
    "EventToAnomalyBurnsSlow": Case(_latency("0+985x100", "0+1000x100"), _latency("0+995x100", "0+1000x100"), 90, every=5),
    "ApiBurnsFast": Case(_requests("0+980x100", "0+20x100"), _requests("0+990x100", "0+10x100"), 30),
    "ApiBurnsSteady": Case(_requests("0+993x100", "0+7x100"), _requests("0+995x100", "0+5x100"), 30),
    "ApiBurnsSlow": Case(_requests("0+9985x100", "0+15x100"), _requests("0+9995x100", "0+5x100"), 90, every=5),
}  # fmt: skip
