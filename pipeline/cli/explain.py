"""`driftlock explain`: why an event was, or was not, an anomaly."""

import os
import sys
from itertools import islice
from uuid import UUID

from pipeline import history, kafka
from pipeline.dead_letters import find as letters
from pipeline.dead_letters.find import Wanted
from pipeline.evidence import explain as why
from pipeline.evidence.bundle import Source
from pipeline.evidence.explain import Found, Why
from pipeline.evidence.export import course, starts
from pipeline.replay import shadow
from pipeline.scan.printable import short
from schemas.errors import DriftlockError
from schemas.identity import blocks_partition
from schemas.settings import Settings, load
from schemas.topics import BLOCKS

BIT = 1 << 16
_PLACES = 10


class NotFound(DriftlockError):
    """There is no such event."""


def explain(event: str, *, tenant: UUID | None = None, stream: str = "", sensitivity: float | None = None) -> None:
    """Say what an event was: normal, anomaly, suppressed or skipped, and why, computed again. Exit code 2 if it is not there.

    Parameters
    ----------
    event
        Its id: a UUID as the API shows it, or the producer's own; also the id of a dead letter.
    tenant
        Its organization: with the stream, only one partition is searched.
    stream
        Its stream.
    sensitivity
        As if it had been this, whatever its organization asked for; else what was in force, and the present setting where it asked for nothing.
    """
    if sensitivity is not None and not 0 <= sensitivity <= 1:
        raise NotFound(f"--sensitivity {sensitivity}: give a number from 0 to 1")
    settings = load(os.environ)
    kafka.require_broker(settings)
    within = history.bounds(settings, BLOCKS.name)
    if tenant is not None and stream:
        number = blocks_partition(str(tenant), stream, len(within))
        within = {number: within[number]}
    organization = "" if tenant is None else str(tenant)
    places = list(islice(why.find(shadow.read(settings, within), event, organization, stream), _PLACES))
    if not places:
        _dead(settings, event)
        return
    topic_id = kafka.topic_ids(kafka.admin(settings), [BLOCKS.name])[BLOCKS.name]
    controls = shadow.controls_of(settings, sensitivity)
    for place in places:
        source = Source(place.organization_id, place.stream, topic_id, place.partition)
        start = starts(settings, source, place.frame)[0]
        first = within[place.partition][0]
        if not start.state and first:
            sys.stderr.write(
                f"driftlock: {BLOCKS.name}/{place.partition} begins at frame {first}: the stream is taken for a new one there\n"
            )
        steps = course(settings, source, controls, alike=sensitivity is not None)
        _show(place, why.explain(steps, place, start))


def _dead(settings: Settings, event: str) -> None:
    """An id that is no event's may be a dead letter's."""
    try:
        identity: UUID | None = UUID(event)
    except ValueError:
        identity = None
    letter = None
    if identity is not None:
        letter = next(letters.find(settings, Wanted(ids=frozenset({identity}))), None)
    if letter is None:
        raise NotFound(
            f"there is no event {short(event, 60)} in {BLOCKS.name}: it was never read, is older than the log, or is a dead letter "
            "(`driftlock dlq list`)"
        )
    sys.stdout.write(f"skipped: a dead letter of {letter.stage}: {short(letter.reason, 200)}\n")


def _show(place: Found, answer: Why) -> None:
    write = sys.stdout.write
    write(
        f"{answer.outcome}: {answer.said}\n"
        f"  event {place.id}, stream {short(place.stream, 60)} of {place.organization_id},"
        f" {BLOCKS.name}/{place.partition} frame {place.frame} event {place.index}\n"
    )
    if answer.anomaly is not None:
        write(f"  anomaly {answer.anomaly}\n")
    if answer.sentence:
        write(f"  {short(answer.sentence, 300)}\n")
    if not answer.channels:
        return
    rows = [(name, bits) for name, bits in answer.channels if bits]
    write(f"  score {answer.score / BIT:,.1f} bits" + (": " if rows else "; every channel 0"))
    write(", ".join(f"{name} {bits / BIT:,.1f}" for name, bits in rows) + "\n")
    write(
        f"  rarer than 1 in {2 ** (answer.surprisal / BIT):,.0f} ({answer.surprisal / BIT:.1f} bits, of {answer.reference_n:,} scores known);"
        f" an episode opens at {answer.opens / BIT:.1f} bits, is told at {answer.level / BIT:.1f}\n"
    )
