"""`driftlock backfill`: what a file of past events would have told, and cost, at each sensitivity; `--seed`: streams learn it."""

import os
import sys
from collections import Counter
from typing import Annotated
from uuid import UUID

from cyclopts import Parameter

from billing.periods import milliseconds
from pipeline import jobs, kafka
from pipeline.backfill import seed as seeds
from pipeline.backfill.forecast import WARM_FROM, Course, Forecast, forecast
from pipeline.export import as_json, dollars
from pipeline.replay import cost
from pipeline.scan.parse import DEFAULT_STREAM, Fields
from pipeline.scan.read import lines
from schemas.errors import DriftlockError
from schemas.settings import Settings, load


class BadBackfill(DriftlockError):
    """What is to be forecast does not fit."""


def backfill(
    *files: Annotated[str, Parameter(name="FILE", allow_leading_hyphen=True)],
    tenant: UUID | None = None,
    plan: str = "",
    event_field: str | None = None,
    stream_field: str | None = None,
    time_field: str | None = None,
    stream: str = DEFAULT_STREAM,
    seed: Annotated[bool, Parameter(negative="")] = False,
    json: bool = False,
) -> None:
    """Say what files of past events would have told, and what a month like them costs. Nothing is sent or written, but for `--seed`.

    Parameters
    ----------
    files
        Files to read, .gz and .zst too; - for standard input.
    tenant
        Cost on this organization's own terms (with DATABASE_URL_JOBS).
    plan
        Cost on this plan; else on each.
    event_field
        Lines are JSON objects, and this field is the event.
    stream_field
        The field that names an event's stream; without it all lines are one stream.
    time_field
        The field with an event's time: seconds since 1970 or ISO 8601. Without it there is no figure for a month.
    stream
        The stream of lines that name none, with `--seed`.
    seed
        Have an organization's streams learn the files, so that they are warm at once: nothing is told or billed of it. It needs
        `--tenant`, `--time-field`, DATABASE_URL_JOBS and the right to write the topic `seeds`; only a stream without events can be seeded.
    json
        One JSON document instead of a table.
    """
    if not files:
        raise BadBackfill("backfill needs a file, or - for standard input")
    settings = load(os.environ)
    if seed:
        _seed(settings, files, Fields(event_field, stream_field, time_field), tenant, stream)
        return
    rates = cost.rates(settings, tenant, plan, jobs.present())
    fields = Fields(event_field, stream_field, time_field)
    course, found = forecast(lines(files), fields, settings.false_alarms_per_day, rates)
    if not course.events:
        raise BadBackfill(f"{', '.join(files)}: there is no event in it")
    if json:
        as_json({"course": course, "forecasts": found})
        return
    _show(course, found)


def _seed(settings: Settings, files: tuple[str, ...], fields: Fields, tenant: UUID | None, stream: str) -> None:
    if tenant is None or fields.time is None:
        raise BadBackfill("--seed needs --tenant, and --time-field: when the events were")
    if "-" in files:
        raise BadBackfill("--seed reads its files twice: standard input can't be")
    now = milliseconds(jobs.present())
    streams: Counter[str] = Counter()
    for one in seeds.seeds(lines(files), fields, tenant, stream, now):
        streams[one.stream] += 1
    if not streams:
        raise BadBackfill(f"{', '.join(files)}: there is no event in it")
    with jobs.connect(settings) as connection:
        seeds.refuse_known(connection, tenant, streams)
    kafka.require_broker(settings)
    sent = seeds.publish(kafka.producer(settings), seeds.seeds(lines(files), fields, tenant, stream, now))
    warm = sum(n >= WARM_FROM for n in streams.values())
    sys.stdout.write(
        f"{sent:,} events of {len(streams):,} streams sent to be learned; {warm:,} of them will be warm. Nothing of it is told or billed\n"
    )


def _show(course: Course, found: list[Forecast]) -> None:
    hours = course.span / 3_600_000
    took = f" over {hours:,.1f} hours" if course.span else ""
    sys.stdout.write(
        f"{course.events:,} events of {course.streams:,} streams{took}; {course.warm:,} of them past warm-up\n\n"
    )
    plans = [c.plan for c in found[0].costs]
    header = ["sensitivity", "anomalies", "units", "a month", *plans]
    rows = [
        [
            f"{one.name} ({one.sensitivity})",
            f"{one.episodes:,}",
            f"{one.units:,}",
            "-" if one.month is None else f"{one.month:,}",
            *(dollars(c.cents) + (f" (+{c.over:,} not billed)" if c.over else "") for c in one.costs),
        ]
        for one in found
    ]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        cells = [
            text.rjust(width) if i else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    if found[0].month is None:
        why = "the file covers less than an hour" if course.span else "no --time-field says how long it took"
        sys.stdout.write(f"\n{why}: the cost is that of a month with these units alone\n")
