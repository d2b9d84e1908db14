"""`driftlock replay`: score the past again in a shadow, and see what would differ."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated
from uuid import UUID

from cyclopts import Parameter

from billing.periods import instant, milliseconds
from pipeline import history, jobs, kafka
from pipeline.export import as_json, dollars
from pipeline.replay import compare, cost, shadow
from pipeline.replay.compare import Anomalies, Differences, Wanted
from pipeline.replay.shadow import Said
from pipeline.scan.printable import short
from schemas.errors import DriftlockError
from schemas.frames import Block
from schemas.settings import Settings, load
from schemas.topics import ANOMALIES, BLOCKS, WORKER_APP


class BadReplay(DriftlockError):
    """What is to be scored again does not fit."""


@dataclass
class Counted:
    """What the shadow has read."""

    frames: int = 0
    events: int = 0
    begins: dict[int, int] = field(default_factory=dict)


def replay(
    *,
    since: Annotated[datetime | None, Parameter(name="--from")] = None,
    until: Annotated[datetime | None, Parameter(name="--to")] = None,
    tenant: UUID | None = None,
    stream: str = "",
    sensitivity: float | None = None,
    plan: str = "",
    limit: int = 20,
    json: bool = False,
    dry_run: Annotated[bool, Parameter(negative="")] = True,
) -> int:
    """Score the past again and compare it with what was told; writes nothing. Exit code 0: the same, 1: differences.

    Parameters
    ----------
    since
        Anomalies that began from this time on (UTC).
    until
        And before this time.
    tenant
        Only this organization.
    stream
        Only this stream.
    sensitivity
        As if it had been this, 0 to 1, for all and whatever organizations asked for; else what was in force, and the present setting
        where they asked for nothing. Mutes, pauses and feedback stay.
    plan
        Cost on this plan; else on the tenant's own terms (with DATABASE_URL_JOBS), or on each plan.
    limit
        Name at most so many differences.
    json
        One JSON document instead of a table.
    dry_run
        Always so: replay never writes to topics, tables or the ledger.
    """
    if not dry_run:
        raise BadReplay("replay only shows what would differ: it has no other mode than --dry-run")
    if sensitivity is not None and not 0 <= sensitivity <= 1:
        raise BadReplay(f"--sensitivity {sensitivity}: give a number from 0 to 1")
    if limit < 0:
        raise BadReplay(f"--limit {limit}: give 0 or more")
    wanted = Wanted(
        0 if since is None else milliseconds(jobs.present(since)),
        1 << 62 if until is None else milliseconds(jobs.present(until)),
        tenant,
        stream,
    )
    if wanted.since >= wanted.until:
        raise BadReplay("--from must lie before --to")
    settings = load(os.environ)
    rates = cost.rates(settings, tenant, plan, jobs.present(until))
    then, now, differences, counted = again(settings, wanted, sensitivity)
    for number, first in counted.begins.items():
        if first:
            sys.stderr.write(
                f"driftlock: {BLOCKS.name}/{number} begins at frame {first}: streams warm up anew there, differences are likely\n"
            )
    units = compare.units(then), compare.units(now)
    costs = {name: tuple(cost.cents(of, count) for count in units) for name, of in rates.items()}
    if json:
        as_json(
            {
                **{name: len(getattr(differences, name)) for name in Differences.__dataclass_fields__},
                "anomalies": [len(then), len(now)],
                "units": list(units),
                "cents": {name: list(pair) for name, pair in costs.items()},
                "events": counted.events,
                "frames": counted.frames,
            }
        )
    else:
        _show(then, now, differences, counted, units, costs, limit)
    return 1 if differences.any else 0


def again(
    settings: Settings, wanted: Wanted, sensitivity: float | None = None
) -> tuple[Anomalies, Anomalies, Differences, Counted]:
    """Anomalies then and now, how they differ, and what was read. The order of the questions is README.md's."""
    kafka.require_broker(settings)
    topic_id = kafka.topic_ids(kafka.admin(settings), [BLOCKS.name])[BLOCKS.name]
    numbers = history.bounds(settings, BLOCKS.name)
    handled = history.committed(settings, WORKER_APP, BLOCKS.name, numbers)
    told = history.bounds(settings, ANOMALIES.name)
    within = history.bounds(settings, BLOCKS.name)
    counted = Counted(begins={number: first for number, (first, _) in within.items()})

    def keep(block: Block) -> bool:
        return (wanted.organization is None or block.organization_id == str(wanted.organization)) and (
            wanted.stream in {"", block.stream}
        )

    chosen = keep if wanted.organization is not None or wanted.stream else None
    controls = shadow.controls_of(settings, sensitivity)
    frames = shadow.read(settings, within)
    if sensitivity is not None:
        frames = shadow.alike(frames)
    said = _count(counted, shadow.score(frames, topic_id, controls, settings, chosen))
    now = compare.gather(compare.of_shadow(said), wanted)
    then = compare.gather(
        ((message.value() or b"", None) for message in history.messages(settings, ANOMALIES.name, told)), wanted
    )
    return then, now, compare.compare(then, now, handled, exact=sensitivity is None), counted


def _count(counted: Counted, said: Iterator[Said]) -> Iterator[Said]:
    for one in said:
        counted.frames += 1
        counted.events += one.events
        yield one


def _show(
    then: Anomalies,
    now: Anomalies,
    differences: Differences,
    counted: Counted,
    units: tuple[int, int],
    costs: dict[str, tuple[int, ...]],
    limit: int,
) -> None:
    write = sys.stdout.write
    write(f"{counted.events:,} events in {counted.frames:,} frames scored again; nothing was written\n")
    write(
        f"anomalies: {len(differences.same):,} same, {len(differences.changed):,} changed,"
        f" {len(differences.only_then):,} only then, {len(differences.only_now):,} only now,"
        f" {len(differences.later):,} not yet told\n\n"
    )
    rows = [
        ("", "then", "now"),
        ("anomalies", f"{len(then):,}", f"{len(now):,}"),
        ("units", f"{units[0]:,}", f"{units[1]:,}"),
    ]
    rows += [(f"cost, {name}", *map(dollars, pair)) for name, pair in costs.items()]  # type: ignore[misc]
    for name, *figures in rows:
        write(f"{name:20}" + "".join(f"{figure:>14}" for figure in figures) + "\n")
    named = [
        *(("changed", now[i]) for i in differences.changed),
        *(("only then", then[i]) for i in differences.only_then),
        *(("only now", now[i]) for i in differences.only_now),
    ]
    if named and limit:
        write("\n")
    for what, told in named[:limit]:
        anomaly = told.newest
        write(
            f"{what:10} {anomaly.id} {instant(anomaly.created_at):%Y-%m-%dT%H:%M:%SZ} {short(anomaly.stream, 40)}"
            f" {anomaly.severity} {anomaly.kind}: {short(anomaly.explanation.sentence, 100)}\n"
        )
    if len(named) > limit:
        write(f"and {len(named) - limit:,} more: --limit\n")
