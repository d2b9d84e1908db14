"""`python -m tests.quality.inject OUT`: labelled streams with anomalies of our own, put into quiet events by a seed.

Single anomalies (KINDS, or SESSION_KINDS where one event is several lines) are inserted at least APART events from each other,
after CLEAN clean events; `flood` and `change` are streams of their own. The streams this writes are looked at only at the end.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from tests.quality import bases
from tests.quality.bases import Base, Rng
from tests.quality.labelled import Event, Labelled, Row, quiet_lines, write

KINDS = ("new", "value", "pair", "number", "struct")
SESSION_KINDS = ("missing", "repeat", "order", "foreign", "value")
EACH = 40
APART = 30
CLEAN = 2000
EVENTS = 10_000
FLOOD = 12_000
CHANGED = 1000
"""Events of a permanent change that are labelled; after them it is the new normal."""
SEED = 77_001
_NUMBER = re.compile(r"([A-Za-z_]+=)?(\d+(?:\.\d+)?)([A-Za-z%]*[,)]?)")
_FOREIGN = (
    "thermal zone 3 above trip point, throttling",
    "certificate expires in four hours",
    "quota of tenant exceeded by 12 units",
)
Mutation = Callable[[Rng, Event], Event | None]
"""A changed copy of an event, or None where this event can't carry that kind."""


@dataclass(frozen=True)
class Profile:
    """What is usual in a base: the values of each field that has few, the largest number of each numeric field, pairs that met."""

    values: dict[str, Counter[str]]
    largest: dict[str, float]
    met: dict[tuple[str, str], frozenset[tuple[str, str]]]


def flat(event: Event) -> dict[str, Any]:
    """Field → scalar: paths of an object; of a text its words, each named by its line's number of words and its place."""
    if isinstance(event, str):
        words = event.split(" ")
        return {f"{len(words)}:{i}": word for i, word in enumerate(words)}
    found: dict[str, Any] = {}
    for key, value in event.items():
        inner = flat(value) if isinstance(value, dict) else None
        found |= {f"{key}.{path}": v for path, v in inner.items()} if inner is not None else {key: value}
    return found


def replaced(event: Event, field: str, value: object) -> Event:
    """A copy with another value in a field of `flat`."""
    if isinstance(event, str):
        words = event.split(" ")
        words[int(field.split(":")[1])] = str(value)
        return " ".join(words)
    copy = deepcopy(event)
    *path, last = field.split(".")
    inner = copy
    for key in path:
        inner = inner[key]
    inner[last] = value
    return copy


def profile(events: Sequence[Event]) -> Profile:
    """What is usual in these events."""
    rows = [flat(e) for e in events]
    texts: dict[str, Counter[str]] = {}
    numbers: dict[str, list[float]] = {}
    for row in rows:
        for field, value in row.items():
            if (number := _number(value)) is not None:
                numbers.setdefault(field, []).append(number)
            elif isinstance(value, str) and not any(c.isdigit() for c in value):
                texts.setdefault(field, Counter())[value] += 1
    values = {f: c for f, c in texts.items() if 2 <= len(c) <= 40 and c.total() >= len(events) / 50}
    largest = {f: max(v) for f, v in numbers.items() if len(set(v)) > 20 and len(v) >= len(events) / 50}
    met = {
        (a, b): frozenset((row[a], row[b]) for row in rows if a in row and b in row)
        for a, b in combinations(sorted(values), 2)
        if a.split(":")[0] == b.split(":")[0] or ":" not in a
    }
    return Profile(values, largest, {k: v for k, v in met.items() if v})


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    found = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    return float(found[2]) if found else None


def new(rng: Rng, event: Event) -> Event:
    """A record of a kind that was never there, in the form (text or object) of the others."""
    code = int(rng.integers(10_000))
    words = [_word(rng) for _ in range(int(rng.integers(5, 12)))]
    if isinstance(event, str):
        return f"{' '.join(words[:4])}: {_word(rng)}={code} ({' '.join(words[4:])})"
    return {_word(rng): " ".join(words[:3]), _word(rng): code, _word(rng): {_word(rng): words[3]}}


def value(usual: Profile, rng: Rng, event: Event) -> Event | None:
    """A value that was never there, in a field that has few."""
    fields = [f for f in flat(event) if f in usual.values]
    return replaced(event, fields[int(rng.integers(len(fields)))], _word(rng)) if fields else None


def pair(usual: Profile, rng: Rng, event: Event) -> Event | None:
    """Two common values that never met."""
    row = flat(event)
    found = []
    for (a, b), met in usual.met.items():
        for field, other in ((a, b), (b, a)):
            if field not in row or other not in row or row[other] not in _common(usual.values[other]):
                continue
            found += [
                (field, put)
                for put in _common(usual.values[field])
                if ((put, row[other]) if field == a else (row[other], put)) not in met
            ]
    if not found:
        return None
    field, put = found[int(rng.integers(len(found)))]
    return replaced(event, field, put)


def _common(values: Counter[str]) -> list[str]:
    return sorted(v for v, count in values.items() if count >= max(20, values.total() / 100))


def number(usual: Profile, rng: Rng, event: Event) -> Event | None:
    """A number 10 to 1,000 times the largest that was there."""
    row = flat(event)
    fields = [f for f in row if f in usual.largest and usual.largest[f] > 0]
    if not fields:
        return None
    field = fields[int(rng.integers(len(fields)))]
    put = usual.largest[field] * 10 ** float(rng.uniform(1, 3))
    old = row[field]
    if isinstance(old, str):
        parts = _NUMBER.fullmatch(old)
        if parts is None:
            return None
        return replaced(
            event,
            field,
            f"{parts[1] or ''}{put:.2f}{parts[3]}" if "." in parts[2] else f"{parts[1] or ''}{int(put)}{parts[3]}",
        )
    return replaced(event, field, int(put) if isinstance(old, int) else round(put, 2))


def struct(rng: Rng, event: Event) -> Event:
    """A missing field, a further one, or a line that is cut."""
    if isinstance(event, str):
        words = event.split(" ")
        at = int(rng.integers(1, max(2, len(words) - 1)))
        if rng.random() < 0.5:
            return event[: max(4, int(len(event) * rng.uniform(0.3, 0.6)))]
        return " ".join([*words[:at], f"[{_word(rng)}]", *words[at:]])
    copy = deepcopy(event)
    if rng.random() < 0.5:
        del copy[list(copy)[int(rng.integers(len(copy)))]]
    else:
        copy[_word(rng)] = {_word(rng): int(rng.integers(100))}
    return copy


def missing(rng: Rng, event: Event) -> Event | None:
    """A session without the line before its last, which nearly every session has."""
    lines = str(event).split("\n")
    return "\n".join([*lines[:-2], lines[-1]]) if len(lines) > 3 else None


def repeat(rng: Rng, event: Event) -> Event | None:
    """One line of a session 20 to 50 times."""
    lines = str(event).split("\n")
    at = int(rng.integers(1, len(lines)))
    return "\n".join([*lines[:at], *[lines[at - 1]] * int(rng.integers(20, 50)), *lines[at:]])


def order(rng: Rng, event: Event) -> Event | None:
    """A session whose last line comes first."""
    lines = str(event).split("\n")
    return "\n".join([lines[-1], *lines[:-1]])


def foreign(rng: Rng, event: Event) -> Event | None:
    """A line of another program within a session."""
    lines = str(event).split("\n")
    at = int(rng.integers(1, len(lines)))
    return "\n".join([*lines[:at], _FOREIGN[int(rng.integers(len(_FOREIGN)))], *lines[at:]])


def session_value(rng: Rng, event: Event) -> Event | None:
    """A word that was never there, in a line that is usual otherwise."""
    lines = str(event).split("\n")
    at = int(rng.integers(len(lines)))
    words = lines[at].split(" ")
    words[-1] = _word(rng)
    return "\n".join([*lines[:at], " ".join(words), *lines[at + 1 :]])


def _word(rng: Rng) -> str:
    """A word that no base has: consonant and vowel in turn, with a q, which none of theirs begins with."""
    letters = [("bdfgklmnprstvz", "aeiou")[i % 2] for i in range(int(rng.integers(5, 9)))]
    return "q" + "".join(of[int(rng.integers(len(of)))] for of in letters)


def mutations(events: Sequence[Event]) -> dict[str, Mutation]:
    """Kind → what makes it, for such events."""
    if isinstance(events[0], str) and "\n" in events[0]:
        return dict(zip(SESSION_KINDS, (missing, repeat, order, foreign, session_value), strict=True))
    usual = profile(events)
    return {
        "new": new,
        "value": partial(value, usual),
        "pair": partial(pair, usual),
        "number": partial(number, usual),
        "struct": struct,
    }


def singles(name: str, events: Sequence[Event], rng: Rng, each: int = EACH) -> Labelled:
    """`each` of every kind, in an order drawn from the seed; a kind that the base can't carry is left out."""
    makers = mutations(events)
    kinds = [kind for kind in makers for _ in range(each)]
    rng.shuffle(kinds)
    room = len(events) - CLEAN - APART * len(kinds)
    if room < 0:
        raise ValueError(f"{name}: {len(events)} events have no room for {len(kinds)} anomalies {APART} apart")
    free = np.sort(rng.integers(room, size=len(kinds))) + CLEAN + APART * np.arange(len(kinds))
    rows, done = [], 0
    at = iter(bases.times(rng, len(events) + len(kinds)))
    for place, kind in zip(free.tolist(), kinds, strict=True):
        rows += [Row(next(at), e, series=name) for e in events[done:place]]
        done = place
        near = (makers[kind](rng, e) for e in events[place : place + APART - 1])
        if (made := next((m for m in near if m is not None), None)) is not None:
            rows.append(Row(next(at), made, 1, name, kind))
    rows += [Row(next(at), e, series=name) for e in events[done:]]
    return Labelled(name, tuple(rows))


def flood(name: str, events: Sequence[Event], rng: Rng, length: int = FLOOD) -> Labelled:
    """After three fifths a new record with a changing number, `length` times, two of three events; usual ones go on between."""
    first = new(rng, events[0])
    begin = len(events) * 3 // 5
    pool, rows, done = iter(range(begin, len(events))), [], 0
    at = iter(bases.times(rng, len(events) + length))
    rows = [Row(next(at), e, series=name) for e in events[:begin]]
    while done < length:
        if rng.random() < 2 / 3:
            rows.append(Row(next(at), _numbered(first, done), 1, name, "flood"))
            done += 1
        elif (i := next(pool, None)) is not None:
            rows.append(Row(next(at), events[i], series=name))
        else:
            raise ValueError(f"{name}: {len(events)} events are too few for a flood of {length}")
    rows += [Row(next(at), events[i], series=name) for i in pool]
    return Labelled(name, tuple(rows))


def _numbered(event: Event, i: int) -> Event:
    return f"{event} try {i}" if isinstance(event, str) else {**event, "try": i}


def change(name: str, events: Sequence[Event], rng: Rng) -> Labelled:
    """From the middle on every event has another form (a field more, a word more); its first CHANGED events are labelled."""
    word, half = _word(rng), len(events) // 2
    at = iter(bases.times(rng, len(events)))
    rows = []
    for i, e in enumerate(events):
        changed = (f"{word}: {e}" if isinstance(e, str) else {**e, word: "on"}) if i >= half else e
        labelled = half <= i < half + CHANGED
        rows.append(Row(next(at), changed, int(labelled), name, "change" if labelled else ""))
    return Labelled(name, tuple(rows))


TEXTS: dict[str, Base] = {"mail": bases.mail, "gateway": bases.gateway, "accounts": bases.accounts, "jobs": bases.jobs}
RECORDED = ("postgres", "access", "shop")


def streams(seed: int = SEED) -> list[Labelled]:
    """All injected streams: singles in each base, then a long flood and a permanent change in two of them."""
    made = []
    for number_of_base, (name, base) in enumerate(TEXTS.items()):
        rng = np.random.default_rng([seed, number_of_base])
        made.append(singles(f"inject_{name}", base(rng, EVENTS), rng))
    for number_of_stream, name in enumerate(RECORDED):
        rng = np.random.default_rng([seed, 100 + number_of_stream])
        made.append(singles(f"inject_recorded_{name}", quiet_lines(name)[:EVENTS], rng))
    for number_of_base, name in enumerate(("mail", "gateway")):
        rng = np.random.default_rng([seed, 200 + number_of_base])
        made.append(flood(f"inject_flood_{name}", TEXTS[name](rng, 20_000), rng))
        made.append(change(f"inject_change_{name}", TEXTS[name](rng, 24_000), rng))
    return made


def main() -> int:
    """Write the streams; print what each holds, and nothing about how well anything finds it."""
    parser = argparse.ArgumentParser(prog="python -m tests.quality.inject", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    for stream in streams(given.seed):
        path = write(stream, given.out)
        sys.stdout.write(f"{path}: {len(stream.rows):,} events, {stream.kinds}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
