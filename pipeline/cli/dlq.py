"""`driftlock dlq list|show|redrive`: dead letters found, shown, and sent again."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from billing.periods import instant, milliseconds
from pipeline import export, jobs, kafka
from pipeline.dead_letters import again as records
from pipeline.dead_letters import find as letters
from pipeline.dead_letters import transform as rules
from pipeline.dead_letters.again import Again
from pipeline.dead_letters.find import Wanted
from pipeline.export import Format
from pipeline.packer.control import Control
from pipeline.scan.printable import short
from schemas.errors import DriftlockError
from schemas.models import DeadLetter
from schemas.settings import load

Stage = Literal["", "packer", "worker", "sink-anomalies", "sink-usage"]
_COLUMNS = (
    "id",
    "received_at",
    "stage",
    "topic",
    "partition",
    "offset",
    "index",
    "organization_id",
    "attempt",
    "bytes",
    "reason",
)
_REASON = 120


class BadChoice(DriftlockError):
    """A choice of dead letters does not fit."""


def show_all(
    *,
    reason: str = "",
    organization: str = "",
    since: datetime | None = None,
    stage: Stage = "",
    limit: int = 50,
    form: Format = "table",
) -> int:
    """Dead letters, the newest LIMIT of those that fit, without their payload. Exit code 0: none, 1: some.

    Parameters
    ----------
    reason
        Only those whose reason contains this.
    organization
        Only those of this organization.
    since
        Only those written since (UTC).
    stage
        Only those of packer, worker, sink-anomalies or sink-usage.
    limit
        At most so many lines.
    form
        table, csv or json (an object a line).
    """
    if limit < 1:
        raise BadChoice(f"--limit {limit}: give 1 or more")
    settings = load(os.environ)
    kafka.require_broker(settings)
    kept: list[dict[str, Any]] = []
    reasons: Counter[str] = Counter()
    for letter in letters.find(settings, _wanted(reason, organization, since, stage)):
        reasons[short(letter.reason, _REASON)] += 1
        kept.append(_row(letter))
        if len(kept) >= 2 * limit:
            kept = sorted(kept, key=_when)[-limit:]
    kept = sorted(kept, key=_when)[-limit:]
    export.rows(kept, _COLUMNS, form)
    total = sum(reasons.values())
    if form == "table":
        sys.stdout.write(f"\n{total:,} dead letters, {len(kept):,} shown\n")
        sys.stdout.write("".join(f"{count:8,}  {said}\n" for said, count in reasons.most_common(10)))
    return 1 if total else 0


def show(identity: UUID, *, json: bool = False) -> None:
    """One dead letter with its headers and bytes; text as text, else as base64. Exit code 2 if there is none of that id.

    Parameters
    ----------
    identity
        Its id, as `driftlock dlq list` shows it.
    json
        The message as it is on the topic (bytes in base64), for programs.
    """
    settings = load(os.environ)
    kafka.require_broker(settings)
    letter = next(letters.find(settings, Wanted(ids=frozenset({identity}))), None)
    if letter is None:
        raise BadChoice(f"there is no dead letter {identity}: `driftlock dlq list` shows them")
    if json:
        sys.stdout.buffer.write(letter.to_bytes() + b"\n")
        return
    said = {**_row(letter), "reason": letter.reason, "topic_id": letter.topic_id, "key": letter.key}
    for name, value in said.items():
        sys.stdout.write(f"{name:16} {_printable(export.plain(value))}\n")
    for name, value in letter.headers:
        sys.stdout.write(f"{'header':16} {_printable(name)}: {_printable(value)}\n")
    value = letters.body(letter)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        sys.stdout.write(f"\nbase64: {letter.body}\n")
    else:
        sys.stdout.write("\n" + "\n".join(map(_printable, text.split("\n"))) + "\n")


def redrive(
    *ids: UUID,
    reason: str = "",
    organization: str = "",
    since: datetime | None = None,
    stage: Stage = "",
    every: bool = False,
    transform: Path | None = None,
    dry_run: bool = False,
    force: bool = False,
    limit: int = 10_000,
) -> int:
    """Send dead letters to the topics they came from; their events keep their ids. Exit code 1 if some were not sent.

    Parameters
    ----------
    ids
        Ids of letters; or choose by the filters.
    reason
        Those whose reason contains this.
    organization
        Those of this organization.
    since
        Those written since (UTC).
    stage
        Those of packer, worker, sink-anomalies or sink-usage.
    every
        All of them: needed where nothing else is chosen.
    transform
        A JSON file of rules that change the letters first: encoding, replace, truncate, rename, remove, set, headers.
    dry_run
        Send nothing; say what would become of each.
    force
        Send also what would be rejected again.
    limit
        Send at most so many.
    """
    wanted = _wanted(reason, organization, since, stage, frozenset(ids))
    if wanted == Wanted() and not every:
        raise BadChoice("choose dead letters by id, --reason, --organization, --since or --stage, or give --every")
    if limit < 1:
        raise BadChoice(f"--limit {limit}: give 1 or more")
    settings = load(os.environ)
    changes = None if transform is None else rules.load(transform)
    kafka.require_broker(settings)
    control = Control(settings)
    control.close()
    chosen = islice(letters.find(settings, wanted), limit)
    made = (records.again(letter, changes, control.organizations, force=force) for letter in chosen)
    done = made if dry_run else records.redrive(kafka.producer(settings), made)
    sent, refused = _tell(done, dry_run=dry_run)
    sys.stdout.write(f"{'would be sent' if dry_run else 'sent'} again: {sent:,}, not: {sum(refused.values()):,}\n")
    sys.stdout.write("".join(f"{count:8,}  {said}\n" for said, count in refused.most_common(10)))
    if not sent and not refused:
        sys.stdout.write("no dead letter fits\n")
    return 1 if refused else 0


def _tell(done: Iterator[Again], *, dry_run: bool) -> tuple[int, Counter[str]]:
    sent, refused = 0, Counter[str]()
    for number, one in enumerate(done):
        if one.sent:
            sent += 1
        else:
            refused[short(one.refused, _REASON)] += 1
        if dry_run and number < 50:
            said = f"would be sent to {one.topic}, {len(one.value):,} bytes, attempt {one.letter.attempt + 1}"
            sys.stdout.write(f"{one.letter.id}  {said if one.sent else 'not sent: ' + short(one.refused, _REASON)}\n")
    return sent, refused


def _wanted(
    reason: str, organization: str, since: datetime | None, stage: Stage, ids: frozenset[UUID] = frozenset()
) -> Wanted:
    return Wanted(reason, organization, None if since is None else milliseconds(jobs.present(since)), stage, ids)


def _row(letter: DeadLetter) -> dict[str, Any]:
    row = letter.model_dump(exclude={"v", "topic_id", "headers", "key", "body", "received_at", "reason"})
    size = len(letter.body) * 3 // 4 - letter.body[-2:].count("=")
    return {**row, "received_at": instant(letter.received_at), "bytes": size, "reason": short(letter.reason, _REASON)}


def _when(row: dict[str, Any]) -> tuple[datetime, int, int]:
    return row["received_at"], row["offset"], row["index"]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in text)
