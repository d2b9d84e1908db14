"""`driftlock worker`: score the frames of `blocks`."""

import os
import time

from pipeline import kafka, telemetry, topics
from schemas.settings import load
from schemas.topics import BLOCKS


def worker(*, accept_new_topic: tuple[str, ...] = ()) -> None:
    """Score frames of the topic blocks and emit anomalies and usage, until stopped.

    Parameters
    ----------
    accept_new_topic
        `blocks` after that topic was made again, or frames were removed that were still needed: go on with the saved
        states from its beginning.
    """
    settings = load(os.environ)
    telemetry.configure(settings, "worker")
    topics.check(settings)

    from faust import Worker as FaustWorker
    from faust.types import TP

    from detectors.detector import warm_up
    from pipeline.liveness import Watch
    from pipeline.worker.app import build, make_folders
    from pipeline.worker.recovery import first_frame, frame_reader

    warm_up()
    client = kafka.admin(settings)
    app, state = build(
        settings,
        lambda: kafka.topic_ids(client, [BLOCKS.name])[BLOCKS.name],
        frame_reader(kafka.client_config(settings)),
        first_frame(kafka.client_config(settings)),
        accept_new_topic=BLOCKS.name in accept_new_topic,
    )
    make_folders(app)
    watch = Watch()

    def stuck() -> str:
        held = {number: partition.position + 1 for number, partition in list(state.partitions.items())}
        ends = {number: app.consumer.highwater(TP(BLOCKS.name, number)) for number in held}
        return watch.stuck({number: (held[number], ends[number] or 0) for number in held}, time.monotonic())

    telemetry.serve(settings, {"worker": lambda: state.wrong}, {"partitions": stuck})
    process = FaustWorker(app, loglevel="WARN", quiet=True, redirect_stdouts=False, override_logging=False)
    process.spinner = None  # it writes terminal codes between the log's lines
    process.execute_from_commandline()
