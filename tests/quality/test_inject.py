"""Injected streams: the same for the same seed, labelled as made. What is found in them is not looked at here."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.quality import everyday, inject
from tests.quality.labelled import Event, Labelled, quiet_lines, read, shipped, write


def made(name: str, seed: int = 1) -> tuple[list[Event], Labelled]:
    rng = np.random.default_rng(seed)
    events = inject.TEXTS[name](rng, inject.EVENTS)
    return events, inject.singles(name, events, rng)


@pytest.mark.parametrize("name", inject.TEXTS)
def test_singles_are_as_many_and_as_far_apart_as_said(name: str) -> None:
    events, stream = made(name)
    assert stream.kinds == dict.fromkeys(sorted(inject.SESSION_KINDS if name == "jobs" else inject.KINDS), inject.EACH)
    places = np.flatnonzero(stream.anomalous)
    assert places[0] >= inject.CLEAN
    assert min(b - a for a, b in pairwise(places.tolist())) >= inject.APART
    assert [row.event for row in stream.rows if not row.label] == events
    times = [row.ts for row in stream.rows]
    assert times == sorted(times)


@pytest.mark.parametrize("name", inject.TEXTS)
def test_no_anomaly_is_an_event_that_was_there(name: str) -> None:
    events, stream = made(name)
    usual = {str(e) for e in events}
    assert not [row for row in stream.rows if row.label and str(row.event) in usual]


@pytest.mark.parametrize("name", ["mail", "gateway", "accounts"])
def test_each_kind_is_what_its_name_says(name: str) -> None:
    events, stream = made(name)
    usual = inject.profile(events)
    words = Counter(str(value) for e in events for value in inject.flat(e).values())
    for row in stream.rows:
        fields = inject.flat(row.event)
        unseen = [
            f for f, v in fields.items() if isinstance(v, str) and not any(c.isdigit() for c in v) and v not in words
        ]
        if row.kind == "value":
            assert len(unseen) == 1
        elif row.kind == "pair":
            assert unseen == []
            assert any(
                (fields.get(a), fields.get(b)) not in met
                for (a, b), met in usual.met.items()
                if a in fields and b in fields
            )
        elif row.kind == "number":
            assert unseen == []
            assert any(
                f in usual.largest and (inject._number(v) or 0) > 9 * usual.largest[f] for f, v in fields.items()
            )


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path: Path) -> None:
    one, again, other = (
        write(made("gateway", seed)[1], tmp_path / str(i)).read_bytes() for i, seed in enumerate((1, 1, 2))
    )
    assert one == again
    assert one != other


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    _, stream = made("jobs")
    assert read(write(stream, tmp_path)) == stream


def test_a_flood_and_a_change() -> None:
    events = inject.TEXTS["mail"](np.random.default_rng(1), 3000)
    flood = inject.flood("flood", events, np.random.default_rng(2), 1500)
    assert flood.kinds == {"flood": 1500}
    assert [row.event for row in flood.rows if not row.label] == events
    changed = inject.change("change", events, np.random.default_rng(2))
    assert changed.kinds == {"change": inject.CHANGED}
    assert all(row.event == e for row, e in zip(changed.rows[:1500], events, strict=False))
    assert not {row.event for row in changed.rows[1500:]} & set(events)


def test_too_few_events_are_refused() -> None:
    events = inject.TEXTS["mail"](np.random.default_rng(1), 2500)
    with pytest.raises(ValueError, match="no room for 200 anomalies"):
        inject.singles("short", events, np.random.default_rng(1))
    with pytest.raises(ValueError, match="too few for a flood"):
        inject.flood("short", events, np.random.default_rng(1), 90_000)


@pytest.mark.parametrize("name", inject.RECORDED)
def test_quiet_lines_of_the_recording_have_room_for_all_kinds(name: str) -> None:
    lines = quiet_lines(name)
    faulty = {str(row.event) for row in shipped().rows if row.label and row.series == name}
    assert not faulty & {str(line) for line in lines}
    assert set(inject.mutations(lines[: inject.EVENTS])) == set(inject.KINDS)
    assert len(lines) > inject.CLEAN + inject.APART * inject.EACH * len(inject.KINDS)


@pytest.mark.parametrize("name", everyday.STREAMS)
def test_everyday_streams_are_the_same_every_day(name: str) -> None:
    stream = everyday.stream(name)
    assert stream == everyday.stream(name)
    assert stream.kinds
    assert stream.name == name
    by_series: dict[str, float] = {}
    for row in stream.rows:
        assert row.ts >= by_series.get(row.series, 0)
        by_series[row.series] = row.ts
