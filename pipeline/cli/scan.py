"""`driftlock scan`: find and explain anomalies in log files, offline."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from schemas.errors import DriftlockError

if TYPE_CHECKING:
    from pipeline.scan.offline import Finding, Scored
    from pipeline.scan.read import Line
    from pipeline.scan.trace import Draw

BIT = 1 << 16


class BadOption(DriftlockError):
    """An option of scan does not fit."""


def scan(
    *files: Annotated[str, Parameter(name="FILE", allow_leading_hyphen=True)],
    json: bool = False,
    scores: bool = False,
    sensitivity: float = 0.5,
    window: int | None = None,
    event_field: str | None = None,
    stream_field: str | None = None,
    time_field: str | None = None,
    plot: Path | None = None,
) -> int:
    """Find anomalies in log files: text or JSON, one event a line. Exit code 0: none found, 1: some found, 2: error.

    Parameters
    ----------
    files
        Files to read, .gz and .zst too; - for standard input.
    json
        Print one JSON object for each anomaly.
    scores
        Print one JSON object for each event: score in bits, peak (the score, 0 where it repeats), p_value, anomaly, episode.
    sensitivity
        From 0 (one false episode in a million events) to 1 (one in a hundred).
    window
        Report only what begins in the last WINDOW events of a stream; everything before is the baseline.
    event_field
        Lines are JSON objects, and this field is the event.
    stream_field
        The field that names an event's stream; without it all lines are one stream.
    time_field
        The field with an event's time: seconds since 1970 or ISO 8601.
    plot
        Draw bits and p-values over time with the anomalies marked into this file: .html, or .png (needs the extra `plots`).
    """
    _check(files, sensitivity, window, both=json and scores)
    from detectors.detector import Controls
    from pipeline.scan.offline import Scan, batches, findings, score_batch
    from pipeline.scan.parse import Fields
    from pipeline.scan.trace import panels

    if time_field is None:
        sys.stderr.write("driftlock: no --time-field: rate and silence are off\n")
    draw = None if plot is None else _drawer(plot)
    fields = Fields(event_field, stream_field, time_field)
    state = Scan(fields, Controls(sensitivity), traced=draw is not None)
    with _lines(files) as lines:
        for batch in batches(lines):
            scored = score_batch(state, batch)
            if scores:
                sys.stdout.write(_score_lines(scored))
    found = findings(state, window)
    if not scores:
        for finding in found:
            sys.stdout.write(_as_json(finding) if json else _as_text(finding))
        if not json:
            sys.stdout.write(_summary(sum(state.seen.values()), len(state.seen), len(found)))
    sys.stdout.flush()
    if plot is not None and draw is not None:
        _write(plot, draw(panels(state, found), timed=time_field is not None))
    return 1 if found else 0


def _check(files: tuple[str, ...], sensitivity: float, window: int | None, *, both: bool) -> None:
    if not files:
        raise BadOption("scan needs a file, or - for standard input")
    if not 0 <= sensitivity <= 1:
        raise BadOption(f"--sensitivity {sensitivity}: give a number from 0 to 1")
    if window is not None and window < 1:
        raise BadOption(f"--window {window}: give a number of events, 1 or more")
    if both:
        raise BadOption("--json and --scores can't be given together")


def _drawer(file: Path) -> "Draw":
    """What draws a file of that name; BadOption before anything is read where it could not be written in the end."""
    if not file.parent.is_dir():
        raise BadOption(f"--plot {file}: there is no folder {file.parent}")
    if file.suffix == ".html":
        from pipeline.scan.page import page

        return page
    if file.suffix == ".png":
        try:
            from pipeline.scan.picture import picture
        except ModuleNotFoundError as error:
            raise BadOption(
                f"--plot {file}: PNG needs {error.name}: pip install 'driftlock[plots]', or give .html"
            ) from error
        return picture
    raise BadOption(f"--plot {file}: give a name that ends in .html or .png")


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise BadOption(f"--plot {file} can't be written: {error.strerror}") from error


@contextmanager
def _lines(files: tuple[str, ...]) -> Iterator["Iterator[Line]"]:
    """The lines of all files, with a progress bar where standard error is a terminal."""
    from pipeline.scan.read import lines, size

    if not sys.stderr.isatty():
        yield lines(files)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("scanning"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scan", total=size(files))
        yield lines(files, lambda n: bar.advance(task, n))


def _score_lines(scored: "Scored") -> str:
    """One JSON object a line."""
    from orjson import dumps

    names = {s: dumps(s).decode()[1:-1] for s in set(scored.streams)}
    rows = zip(
        (scored.score / BIT).tolist(),
        (scored.peak / BIT).tolist(),
        (2.0 ** (scored.surprisal / -BIT)).tolist(),
        scored.reported.tolist(),
        scored.episode.tolist(),
        scored.streams,
        strict=True,
    )
    return "".join(
        f'{{"score":{score:.5f},"peak":{peak:.5f},"p_value":{p:.6g},"anomaly":true,"episode":"{names[stream]}/{episode}"}}\n'
        if reported
        else f'{{"score":{score:.5f},"peak":{peak:.5f},"p_value":{p:.6g},"anomaly":false,"episode":null}}\n'
        for score, peak, p, reported, episode, stream in rows
    )


def _as_json(finding: "Finding") -> str:
    import orjson

    update = asdict(finding.update)
    for internal in ("index", "reference"):
        del update[internal]
    where = {"stream": finding.stream, "file": finding.file, "line": finding.line}
    return orjson.dumps(where | update).decode() + "\n"


def _as_text(finding: "Finding") -> str:
    from pipeline.scan.printable import short

    update = finding.update
    p = 2.0 ** (-update.surprisal / BIT)
    stream = "" if finding.stream == "default" else f" stream {finding.stream}"
    events = "1 event" if update.count == 1 else f"{update.count:,} events"
    marks = "" if update.calibrated else ", not calibrated: fewer than 1,000 events came before"
    lines = [
        f"{finding.file}:{finding.line}{stream}  {update.severity} {update.kind}, {events}, p = {p:.1g}{marks}",
        f"  {update.explanation.sentence}",
        f"  event    {short(update.explanation.event)}",
    ]
    if update.explanation.nearest_normal is not None:
        lines.append(f"  nearest  {short(update.explanation.nearest_normal)}")
    lines += [
        f"  {t.bits / BIT:8,.1f} bits  {short(t.token, 60)}  seen: {t.seen}; expected: {t.expected}"
        for t in update.explanation.tokens[:4]
    ]
    return "\n".join(lines) + "\n\n"


def _summary(events: int, streams: int, found: int) -> str:
    what = "no anomalies" if found == 0 else "1 anomaly" if found == 1 else f"{found:,} anomalies"
    of = "" if streams <= 1 else f" of {streams:,} streams"
    return f"{what} in {events:,} events{of}\n"
