"""From the sources to the database: rates, lag, ages, what was refused, and the processes themselves."""

from dashboards.grafana.panels import Board, Panel, Query, age, quantile, rate, zero

BOARD = Board(
    "driftlock-flow",
    "DriftLock: flow",
    "Events from the sources through packer and workers to the sinks.",
    (
        Panel("Processes up", "Each that is scraped; 0: ProcessDown rings.", (Query("sum by (job) (up)", "{{job}}"),), kind="stat", width=24),
        Panel("Events", "What is packed must be scored; both lines lie on each other.", (
            Query(rate("driftlock_packer_events_total"), "packed"),
            Query(rate("driftlock_worker_events_total", "outcome"), "{{outcome}}"),
        ), "eps"),
        Panel("Lag", "Records behind the logs' ends; near 0.", (
            Query("sum by (topic) (driftlock_packer_lag_records)", "packer {{topic}}"),
            Query("sum by (sink) (driftlock_sink_lag_records)", "{{sink}}"),
        )),
        Panel("Time since progress", "Below 10 s each: packer and workers move by ticks even without events.", (
            Query(age("driftlock_packer_progress_timestamp_seconds"), "packer"),
            Query(age("driftlock_worker_progress_timestamp_seconds", "partition"), "worker, partition {{partition}}"),
            Query(age("driftlock_sink_progress_timestamp_seconds", "sink"), "{{sink}}"),
        ), "s"),
        Panel("Age of a frame when its results are acknowledged", "Where workers can't keep up this rises first.", (
            Query(quantile(0.5, "driftlock_worker_age_seconds"), "half"),
            Query(quantile(0.99, "driftlock_worker_age_seconds"), "99 %"),
        ), "s"),
        Panel("Age of a record when its rows are committed", "", (
            Query(quantile(0.99, "driftlock_sink_record_age_seconds", "sink"), "{{sink}}, 99 %"),
        ), "s"),
        Panel("A batch into PostgreSQL", "Rising: PostgreSQL is slow.", (
            Query(quantile(0.99, "driftlock_sink_batch_seconds", "sink"), "{{sink}}, 99 %"),
            Query(zero(rate("driftlock_sink_retries_total")), "tried again, a second"),
        ), "s"),
        Panel("Records of the sinks", "By what became of them; rejected: 0.", (Query(rate("driftlock_sink_records_total", "sink, fate"), "{{sink}} {{fate}}"),), "ops"),
        Panel("Dead letters", "By reason; the topic dead-letters holds each.", (Query(zero(rate("driftlock_packer_dead_letters_total", "reason")), "{{reason}}"),), "ops"),
        Panel("Waiting for Kafka", "Share of the packer's time, and its flushes on their way.", (
            Query(rate("driftlock_packer_blocked_seconds_total"), "blocked"),
            Query("sum(driftlock_packer_flushes_in_flight)", "flushes in flight"),
            Query(rate("driftlock_packer_commit_failures_total"), "failed commits"),
            Query(rate("driftlock_packer_flushes_total"), "flushes, a second"),
        )),
        Panel("Bytes", "What comes, what frames take, what saved states take.", (
            Query(rate("driftlock_packer_event_bytes_total"), "events"),
            Query(rate("driftlock_packer_frame_bytes_total"), "frames"),
            Query(rate("driftlock_worker_saved_bytes_total"), "saved states"),
            Query(rate("driftlock_worker_input_bytes_total"), "scored"),
        ), "Bps"),
        Panel("Events of a block", "Near 1: many slow streams.", (
            Query(quantile(0.5, "driftlock_worker_block_events"), "half"),
            Query(quantile(0.99, "driftlock_worker_block_events"), "99 %"),
        )),
        Panel("Workers", "Streams in memory; frames, and those read again after a rebalance.", (
            Query("sum(driftlock_worker_streams)", "streams"),
            Query(rate("driftlock_worker_frames_total"), "frames, a second"),
            Query(rate("driftlock_worker_frames_read_again_total"), "read again, a second"),
            Query("sum(driftlock_worker_organizations_over_limit_total)", "organizations over their limit"),
        )),
        Panel("What tenants set", "Messages on their way to the workers; waiting: 0.", (
            Query("sum(driftlock_control_waiting_messages)", "waiting"),
            Query(zero(rate("driftlock_control_messages_total")), "carried, a second"),
            Query(zero(rate("driftlock_worker_controls_total")), "obeyed, a second and partition"),
        )),
        Panel("Alerts to endpoints", "Attempts by outcome; endpoints of tenants may be down for days.", (
            Query(zero(rate("driftlock_alerts_deliveries_total", "outcome")), "{{outcome}}"),
            Query("sum(driftlock_alerts_deliveries_waiting)", "waiting"),
            Query("max(driftlock_alerts_deliveries_oldest_seconds)", "age of the oldest, s"),
        )),
        Panel("Memory", "Flat.", (Query("sum by (job) (process_resident_memory_bytes)", "{{job}}"),), "bytes"),
        Panel("Processor", "1 is one core.", (Query("sum by (job) (rate(process_cpu_seconds_total[$__rate_interval]))", "{{job}}"),)),
        Panel("Garbage collections", "", (Query("sum by (job, generation) (rate(python_gc_collections_total[$__rate_interval]))", "{{job}} {{generation}}"),), "ops"),
        Panel("Open files", "", (Query("max by (job) (process_open_fds)", "{{job}}"),)),
    ),
)  # fmt: skip
