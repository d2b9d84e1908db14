"""Log files followed as a collector does: entries of one or many lines, each with the time at which it was seen."""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

POLL_S = 0.05
COMPLETE_AFTER_S = 0.5
"""An entry to which nothing was added for so long is complete."""


@dataclass(frozen=True)
class Source:
    """A file of one stream. A line that does not match `first` belongs to the entry before it."""

    stream: str
    path: Path
    first: re.Pattern[str]


@dataclass(frozen=True)
class Entry:
    """A log entry: seconds since 1970, its stream, and its text, or the object where the log is JSON."""

    at: float
    stream: str
    event: str | dict[str, Any]


POSTGRES = re.compile(
    r"\d{4}-\d\d-\d\d [\d:.]+ UTC \[\d+\] (?:\S+@\S+ )?(?!DETAIL|HINT|CONTEXT|STATEMENT|QUERY|LOCATION)[A-Z]+\d?:  "
)
KAFKA = re.compile(r"\[\d{4}-\d\d-\d\d |OpenJDK|Exception in thread|Error: ")
SHOP = re.compile(r"\d{4}-\d\d-\d\d ")
LINE = re.compile(r"")


@dataclass
class _Followed:
    source: Source
    place: int
    part: bytes = b""
    lines: list[str] = field(default_factory=list)
    began: float = 0.0
    touched: float = 0.0


class Tail:
    """Follows files from their present ends in a thread of its own; each complete entry goes to `take`."""

    def __init__(self, sources: list[Source], take: Callable[[Entry], None]) -> None:
        self._followed = [_Followed(s, s.path.stat().st_size if s.path.exists() else 0) for s in sources]
        self._take = take
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Read what is still there, and end."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(POLL_S):
            self._look(time.time())
        self._look(time.time())
        for one in self._followed:
            self._complete(one)

    def _look(self, now: float) -> None:
        for one in self._followed:
            if one.source.path.exists():
                with one.source.path.open("rb") as file:
                    file.seek(one.place)
                    data = file.read()
                one.place += len(data)
                *lines, one.part = (one.part + data).split(b"\n")
                for line in lines:
                    self._line(one, line.decode("utf-8", "replace"), now)
            if one.lines and now - one.touched > COMPLETE_AFTER_S:
                self._complete(one)

    def _line(self, one: _Followed, line: str, now: float) -> None:
        if one.source.first.match(line) or not one.lines:
            self._complete(one)
            one.began = now
        one.lines.append(line)
        one.touched = now

    def _complete(self, one: _Followed) -> None:
        text = "\n".join(one.lines).strip()
        one.lines.clear()
        if text:
            self._take(Entry(one.began, one.source.stream, _parsed(text)))


def _parsed(text: str) -> str | dict[str, Any]:
    if text.startswith("{"):
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
        if isinstance(value, dict):
            return value
    return text
