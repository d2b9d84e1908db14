"""What tenants say: it decides what is told from its frame on and moves no score; the same after any crash and any repetition."""

import contextlib
import random
from dataclasses import replace
from typing import Any, Literal
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.detector import Controls
from pipeline.worker.rules import Asked, as_of, asked_of, from_plain, plain, pruned, with_rule
from schemas import frames
from schemas.controls import Control, FeedbackControl, ForgetControl, SettingsControl, StreamControl
from schemas.frames import Range
from schemas.topics import ANOMALIES, USAGE
from tests.pipeline.worker import test_agent as agents
from tests.pipeline.worker import test_silences as silences
from tests.pipeline.worker.test_agent import EVENTS_A_FRAME, ORGANIZATION, Crashed, Outside, frame, run, told, worker

ID = UUID(ORGANIZATION)
OTHER = UUID(int=7)
FRAMES = 120
BEGIN = 3_300
EVERY = 330


def line(offset: int) -> bytes:
    """Quiet traffic; once the streams are warm floods of very different strength, one in eleven frames' half."""
    rng = random.Random(offset)
    turn, at = divmod(offset - BEGIN, EVERY)
    if turn >= 0 and at < (3, 6, 9, 18, 60)[turn % 5]:
        return f"upstream {'abcdefghijklm'[turn]} timed out while connecting to backend {rng.randrange(3)}".encode()
    return f"GET /orders/{rng.randrange(10_000)} 200 in {rng.randrange(90)} ms".encode()


LOG = [frame(n * EVENTS_A_FRAME, (n + 1) * EVENTS_A_FRAME, line) for n in range(FRAMES)]


def strict(version: int, thousandths: int | None = 0) -> Control:
    """What an organization wants."""
    return SettingsControl(organization_id=ID, version=version, sensitivity=thousandths)


def of_stream(stream: str, version: int, thousandths: int | None) -> Control:
    """What it wants of a stream."""
    return StreamControl(organization_id=ID, stream=stream, version=version, sensitivity=thousandths)


def asked(stream: str, version: int, **wanted: Any) -> Control:
    """What it wants of a stream beside its sensitivity."""
    return StreamControl(organization_id=ID, stream=stream, version=version, **wanted)


def with_controls(log: list[bytes], said: dict[int, list[Control]]) -> list[bytes]:
    """The log with control messages in some of its frames, each at its place of the control topic."""
    out, offset = [], 0
    for number, data in enumerate(log):
        frame = frames.decode(data)
        mine = said.get(number, [])
        source = Range("control", "control-1", 0, (offset, 0), (offset + len(mine), 0), frame.ranges[0].through)
        controls = tuple({**c.model_dump(mode="json"), "offset": offset + i} for i, c in enumerate(mine))
        out.append(frames.encode(replace(frame, ranges=(*frame.ranges, source), controls=controls)))
        offset += len(mine)
    return out


def anomalies(outside: Outside) -> list[dict[str, Any]]:
    """All revisions that were sent."""
    return [orjson.loads(o.value) for o in outside.sent if o.topic == ANOMALIES.name]


def scored(said: dict[int, list[Control]], log: list[bytes] = LOG) -> Outside:
    """The whole log, once."""
    outside = Outside(with_controls(log, said))
    run(outside, worker(outside, 1 << 40), list(range(len(log))))
    return outside


def units(outside: Outside) -> set[str]:
    return {a["id"] for a in anomalies(outside)}


def test_an_organization_sees_less_or_more_and_nothing_else_of_it_moves() -> None:
    least, usual, most = scored({0: [strict(1, 0)]}), scored({}), scored({0: [strict(1, 1_000)]})
    assert units(least) < units(usual) < units(most)
    first = {a["id"]: a["created_at"] for a in anomalies(most)}
    assert all(first[a["id"]] == a["created_at"] for a in anomalies(usual))
    assert units(scored({0: [strict(1, None)]})) == units(usual)
    theirs = SettingsControl(organization_id=OTHER, version=1, sensitivity=0)
    assert told(scored({0: [theirs]})) == told(usual)


def test_it_holds_from_its_frame_on() -> None:
    half = FRAMES // 2 + 20
    outside = scored({0: [strict(1, 0)], half: [strict(2, 1_000)]})
    began = 1_700_000_000_000 + 40 * 60 * half
    quiet, loud = scored({0: [strict(1, 0)]}), scored({0: [strict(1, 1_000)]})
    early = {a["id"] for a in anomalies(outside) if a["last_at"] < began}
    assert early == {a["id"] for a in anomalies(quiet) if a["last_at"] < began}
    late = {a["id"] for a in anomalies(loud) if a["created_at"] >= began}
    assert late
    assert late <= units(outside)


def test_a_stream_has_its_own() -> None:
    outside = scored({0: [strict(1, 0), of_stream("a", 1, 1_000)]})
    loud = {a["id"] for a in anomalies(scored({0: [strict(1, 1_000)]})) if a["stream"] == "a"}
    assert {a["id"] for a in anomalies(outside) if a["stream"] == "a"} == loud
    assert units(scored({0: [of_stream("a", 1, 1_000)], 1: [of_stream("a", 2, None)]})) == units(scored({}))


def test_what_is_older_or_comes_again_changes_nothing() -> None:
    newest: dict[int, list[Control]] = {0: [strict(2, 1_000)]}
    assert told(scored({**newest, 1: [strict(2, 0), strict(1, 0)]})) == told(scored(newest))
    # A packer that was presumed dead writes a flush again, the settings of then with it.
    log = with_controls(LOG, {0: [strict(1, 0)], 30: [strict(2, 1_000)]})
    again = [*log[:40], log[0], log[30], *log[40:]]
    outside = Outside(again)
    run(outside, worker(outside, 1 << 40), list(range(len(again))))
    assert units(outside) == units(scored({0: [strict(1, 0)], 30: [strict(2, 1_000)]}))


def at_frame(number: int) -> int:
    """When the first event of a frame was received."""
    return 1_700_000_000_000 + 40 * EVENTS_A_FRAME * number


def usage(outside: Outside, field: str) -> int:
    """The sum of a count over all frames' usage records."""
    records = (orjson.loads(o.value) for o in outside.sent if o.topic == USAGE.name)
    return sum(record[field] for record in records if not record["is_anomaly"])


def test_a_muted_stream_is_scored_and_learned_and_says_nothing() -> None:
    usual = scored({})
    hushed = scored({0: [asked("a", 1, muted=True)]})
    assert {a["stream"] for a in anomalies(hushed)} == {"b", "c"}
    assert units(hushed) == {a["id"] for a in anomalies(usual) if a["stream"] != "a"}
    assert usage(hushed, "count") == usage(usual, "count") == FRAMES * EVENTS_A_FRAME
    billed = [orjson.loads(o.value) for o in hushed.sent if o.topic == USAGE.name and b'"is_anomaly":true' in o.value]
    assert {u["stream"] for u in billed} == {"b", "c"}
    # What it learned is what it would have: unmuted, it says the same as if it had never been muted.
    later = scored({0: [asked("a", 1, muted=True)], 70: [asked("a", 2)]})
    began = at_frame(71)
    assert [a for a in anomalies(later) if a["created_at"] >= began] == [
        a for a in anomalies(usual) if a["created_at"] >= began
    ]


@pytest.mark.parametrize("inside", [0, 7, 30])
def test_maintenance_ends_at_its_time_wherever_blocks_are_cut(inside: int) -> None:
    end = at_frame(77) + 40 * inside
    quiet = scored({0: [asked("a", 1, muted_until=end)]})
    loud = {a["id"]: a for a in anomalies(scored({})) if a["stream"] == "a"}
    mine = {a["id"] for a in anomalies(quiet) if a["stream"] == "a"}
    assert {i for i, a in loud.items() if a["created_at"] >= end} <= mine
    assert not mine & {i for i, a in loud.items() if a["last_at"] < end}
    whole = [frame(n * 240, (n + 1) * 240, line) for n in range(FRAMES // 4)]
    again = scored({0: [asked("a", 1, muted_until=end)]}, whole)
    assert {(a["id"], a["revision"], a["count"]) for a in anomalies(again)} == {
        (a["id"], a["revision"], a["count"]) for a in anomalies(quiet)
    }


def test_a_paused_stream_is_skipped_and_not_called_silent() -> None:
    outside = scored({40: [asked("a", 1, paused=True)], 90: [asked("a", 2)]})
    assert usage(outside, "skipped") == 50 * EVENTS_A_FRAME // 3
    assert usage(outside, "count") + usage(outside, "skipped") == FRAMES * EVENTS_A_FRAME
    assert not {a["stream"] for a in anomalies(outside) if at_frame(40) <= a["created_at"] < at_frame(90)} & {"a"}
    beats = silences.WARM + silences.STOPPED
    stopped = silences.LOG[:beats]
    paused: dict[int, list[Control]] = {silences.WARM - 1: [asked("s1", 1, paused=True)]}
    assert units(scored(paused, stopped)) == set()
    resumed = {**paused, beats: [asked("s1", 2)]}
    assert units(scored(resumed, silences.LOG)) == set()
    late: dict[int, list[Control]] = {silences.WARM + 1: [asked("s1", 1, paused=True)]}
    assert units(scored({**late, beats: [asked("s1", 2)]}, silences.LOG)) == set()


def test_a_silence_in_a_mute_is_told_once_the_mute_is_over() -> None:
    lasting = silences.LOG[: silences.WARM + silences.STOPPED]
    began = silences.START + silences.WARM * silences.STEP
    for minutes, told_in_it in ((5, 1), (30, 1), (600, 0)):
        end = began + minutes * 60_000
        found = scored({0: [asked("s1", 1, muted_until=end)]}, lasting)
        assert len(units(found)) == told_in_it
        assert all(orjson.loads(o.value)["stream"] == "s1" for o in found.sent if o.topic == ANOMALIES.name)
    assert len(units(scored({0: [asked("s1", 1, muted=True)], silences.WARM + 30: [asked("s1", 2)]}, lasting))) == 1


def test_a_forgotten_stream_begins_anew() -> None:
    forgotten: dict[int, list[Control]] = {90: [ForgetControl(organization_id=ID, stream="a", version=1)]}
    outside = scored(forgotten)
    late = [a for a in anomalies(outside) if a["created_at"] >= at_frame(91)]
    assert [a for a in late if a["stream"] == "a" and a["calibrated"]] == []
    assert [a for a in late if a["stream"] != "a"] == [
        a for a in anomalies(scored({})) if a["created_at"] >= at_frame(91) and a["stream"] != "a"
    ]


JUDGED_AT = 95


def louder(offset: int) -> bytes:
    """The traffic of the agents' tests, whose next flood after the verdict is several times as long: the same again would not be told (habits.py)."""
    if offset >= (JUDGED_AT + 5) * agents.EVENTS_A_FRAME and offset % 900 < 400:
        return agents.line(6_300 + offset % 60 + 900 * (offset // 60))
    return agents.line(offset)


AGAIN = [
    agents.frame(n * agents.EVENTS_A_FRAME, (n + 1) * agents.EVENTS_A_FRAME, louder)
    for n in range(len(agents.LOG) + 10)
]


def judged(stream: str, verdict: Literal["normal", "confirmed", "none"], version: int = 1) -> list[Control]:
    """A verdict on all that was told of a stream so far, by what the anomalies themselves say."""
    last = {
        a["id"]: a for a in anomalies(scored({}, AGAIN)) if a["stream"] == stream and a["last_at"] < at_frame(JUDGED_AT)
    }
    assert last
    assert all(a["patterns"] for a in last.values())
    return [
        FeedbackControl(
            organization_id=ID,
            stream=stream,
            version=version,
            anomaly_id=UUID(a["id"]),
            verdict=verdict,
            patterns=tuple(a["patterns"]),
        )
        for a in last.values()
    ]


def late_streams(said: dict[int, list[Control]]) -> set[str]:
    """Streams of which something was told after the verdict; the same flood comes in all three of them."""
    return {a["stream"] for a in anomalies(scored(said, AGAIN)) if a["created_at"] >= at_frame(JUDGED_AT)}


def test_what_was_called_normal_is_not_told_again_in_that_stream() -> None:
    normal = judged("a", "normal")
    assert late_streams({}) == {"a", "b", "c"}
    assert late_streams({JUDGED_AT: normal}) == {"b", "c"}
    assert late_streams({JUDGED_AT: normal, JUDGED_AT + 2: judged("a", "none", 2)}) == {"a", "b", "c"}
    assert late_streams({JUDGED_AT: judged("a", "confirmed")}) == {"a", "b", "c"}
    strangers = [c.model_copy(update={"stream": "never seen"}) for c in normal]
    assert late_streams({JUDGED_AT: strangers}) == {"a", "b", "c"}


@settings(max_examples=5, deadline=None)
@given(crashes=st.lists(st.integers(100, 150), max_size=3), checkpoint_bytes=st.sampled_from([1, 8_000, 60_000]))
def test_a_verdict_is_obeyed_once_whatever_crashes(crashes: list[int], checkpoint_bytes: int) -> None:
    said = {JUDGED_AT: judged("a", "normal"), JUDGED_AT + 3: judged("b", "confirmed")}
    outside = Outside(with_controls(AGAIN, said))
    for fails_at in [*crashes, -1]:
        outside.steps, outside.fails_at = 0, fails_at
        with contextlib.suppress(Crashed):
            run(outside, worker(outside, checkpoint_bytes), list(range(len(AGAIN))))
    assert told(outside) == told(scored(said, AGAIN))


CHANGES: dict[int, list[Control]] = {
    3: [strict(1, 1_000), of_stream("b", 1, 0)],
    60: [asked("c", 1, paused=True)],
    66: [asked("a", 1, muted_until=1_700_000_000_000 + 40 * (EVENTS_A_FRAME * 71 + 13)), asked("c", 2)],
    72: [strict(2, 200)],
    78: [of_stream("b", 2, 900), strict(3, 800)],
    86: [ForgetControl(organization_id=ID, stream="b", version=3)],
    88: [asked("c", 3, muted=True)],
    95: [strict(4, None)],
}
CHANGED = with_controls(LOG, CHANGES)
CLEAN = told(scored(CHANGES))


@settings(max_examples=10, deadline=None)
@given(
    crashes=st.lists(st.integers(1, 150), max_size=5),
    back=st.integers(0, 40),
    checkpoint_bytes=st.sampled_from([1, 8_000, 60_000, 1 << 40]),
)
def test_any_crash_says_the_same(crashes: list[int], back: int, checkpoint_bytes: int) -> None:
    outside = Outside(CHANGED)
    at = 0
    for fails_at in [*crashes, -1]:
        outside.steps, outside.fails_at = 0, fails_at
        try:
            run(outside, worker(outside, checkpoint_bytes), list(range(max(0, at - back), FRAMES)))
        except Crashed:
            at = min(FRAMES - 1, at + 20)
    assert told(outside) == CLEAN


@settings(max_examples=6, deadline=None)
@given(stale=st.integers(60, 100), later=st.integers(1, 9))
def test_a_stale_state_is_scored_again_under_what_held_then(stale: int, later: int) -> None:
    outside = Outside(CHANGED)
    run(outside, worker(outside, 8_000), list(range(stale)))
    old = dict(outside.table)
    run(outside, worker(outside, 8_000), list(range(stale, min(FRAMES, stale + later))))
    for stream in ("a", "b"):
        key = f"{ORGANIZATION}/{stream}".encode()
        if key in old:
            outside.table[key] = old[key]
    run(outside, worker(outside, 8_000), list(range(stale, FRAMES)))
    assert told(outside) == CLEAN


def test_a_topic_made_again_keeps_what_was_said() -> None:
    outside = Outside(with_controls(LOG[:10], {0: [strict(5, 0)]}))
    run(outside, worker(outside, 1), list(range(10)))
    outside.log = with_controls(LOG, {0: [strict(4, 1_000)]})  # older: what a lagging packer may send yet
    run(outside, worker(outside, 1, topic_id="blocks-2", accept_new_topic=True), list(range(FRAMES)))
    strictest = 1_306_235  # -log2 of 1e-6 in 2^-16 bit
    assert anomalies(outside)
    assert all(a["surprisal"] >= strictest for a in anomalies(outside))
    assert any(a["surprisal"] < strictest for a in anomalies(scored({})))


def test_a_silence_is_told_as_soon_as_the_level_allows_it() -> None:
    lasting = silences.LOG[: silences.WARM + silences.STOPPED]
    never: dict[int, list[Control]] = {0: [strict(1, 0)]}
    assert units(scored(never, lasting)) == set()
    late = scored({**never, silences.WARM + 20: [strict(2, 500)]}, lasting)
    assert {a["kind"] for a in anomalies(late)} == {"silence"}
    assert len(units(late)) == 1
    outside = Outside(with_controls(lasting, {**never, silences.WARM + 20: [strict(2, 500)]}))
    run(outside, worker(outside, 20_000), list(range(silences.WARM + 15)))
    run(outside, worker(outside, 1), list(range(silences.WARM + 15, silences.WARM + 21)))
    assert units(outside) == units(late)  # at that frame, not at its next deadline; though no state was in memory


def test_rules_know_what_held_when() -> None:
    rules = with_rule(with_rule(with_rule({}, 3, strict(1, 0)), 7, strict(2, 1_000)), 7, of_stream("a", 1, 250))
    default = Controls()
    assert asked_of(as_of(rules, 3), ORGANIZATION, "a", default) == Asked(default)
    assert asked_of(as_of(rules, 7), ORGANIZATION, "a", default).controls.sensitivity == 0
    assert asked_of(rules, ORGANIZATION, "a", default).controls.sensitivity == 0.25
    assert asked_of(rules, ORGANIZATION, "b", default).controls.sensitivity == 1
    assert from_plain(orjson.loads(orjson.dumps(plain(rules)))) == rules
    kept = pruned(rules, 7)
    assert as_of(kept, 7) == as_of(rules, 7)
    assert as_of(pruned(rules, 8), 8) == {key: versions[-1:] for key, versions in rules.items()}
