"""The sink of the topic `usage`: records become entries of the ledger (billing/usage.py)."""

from collections.abc import Sequence

import structlog

from billing.usage import Arrival, book
from pipeline.sinks import standing
from pipeline.sinks.metrics import RESCORED, UNITS
from pipeline.sinks.sink import Connection, Fate, Outcome, Record, Sink
from schemas.models import BadMessage, ScoredUsage, usage_from_bytes
from schemas.topics import BLOCKS, USAGE

_LOG = structlog.get_logger("pipeline.sinks")


def write(connection: Connection, records: Sequence[Record], now: int) -> Outcome:
    """Book a batch of usage records; what is no usage record is rejected."""
    reasons: dict[int, str] = {}
    arrivals: list[Arrival] = []
    places: list[int] = []
    for i, record in enumerate(records):
        try:
            if record.value is None:
                raise BadMessage("the record has no value")  # noqa: TRY301 one place that rejects
            usage = usage_from_bytes(record.value)
            if isinstance(usage, ScoredUsage) and (wrong := standing.unfit(usage)):
                raise BadMessage(wrong)  # noqa: TRY301 one place that rejects
        except BadMessage as error:
            reasons[i] = str(error)
            continue
        arrivals.append(Arrival(usage, record.topic_id, record.partition, record.offset, record.arrived_at))
        places.append(i)
    booked = book(connection, arrivals, now=now)
    fates: list[Fate] = ["rejected"] * len(records)
    for i, fate in zip(places, booked.fates, strict=True):
        fates[i] = fate
    counted = (a.record for a, fate in zip(arrivals, booked.fates, strict=True) if fate == "not_anomaly")
    standing.store(connection, (record for record in counted if isinstance(record, ScoredUsage)))
    reasons |= {places[i]: said for i, said in booked.reasons.items()}
    for disposition, units in booked.units.items():
        UNITS.labels(disposition).inc(units)
    for entry in booked.rescored:
        RESCORED.inc()
        _LOG.warning(
            "rescored: this stream was billed up to there already, nothing is billed for it",
            organization_id=str(entry.organization_id),
            stream=entry.stream,
            usage_id=str(entry.usage_id),
        )
    return Outcome(tuple(fates), reasons)


SINK = Sink("sink-usage", USAGE, write, other_topics=(BLOCKS,))
