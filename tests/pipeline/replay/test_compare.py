"""The shadow gives a worker's own bytes; the comparison tells what differs, and what no worker has finished from that."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

from detectors.detector import Controls
from pipeline.replay import shadow
from pipeline.replay.compare import Anomalies, Wanted, compare, gather, of_shadow, units
from pipeline.replay.shadow import Numbered
from pipeline.worker.rules import asked_of, with_rule
from schemas.controls import Control, SettingsControl, StreamControl
from schemas.frames import decode, encode
from schemas.models import Anomaly
from schemas.settings import Settings
from schemas.topics import ANOMALIES
from tests.pipeline.replay import worlds
from tests.pipeline.worker.test_agent import LOG, ORGANIZATION, Outside, run, worker

SETTINGS = Settings(worker_resident_streams=1)
FRAMES = [Numbered(0, n, frame, len(frame.events.body)) for n, frame in enumerate(map(decode, LOG))]
ALL = {0: len(LOG)}


def now(controls: Controls | None = None, wanted: Wanted | None = None, stream: str = "") -> Anomalies:
    keep = (lambda block: block.stream == stream) if stream else None
    said = shadow.score(FRAMES, "blocks-1", controls or shadow.controls_of(SETTINGS), SETTINGS, keep)
    return gather(of_shadow(said), wanted or Wanted())


def told(found: Anomalies) -> Anomalies:
    """As if read from the topic: without frames."""
    return {identity: type(one)(one.newest, dict(one.digests)) for identity, one in found.items()}


def test_the_same_settings_give_no_difference_whatever_is_left_out_or_kept_in_memory() -> None:
    whole = now()
    assert len(whole) > 2
    differences = compare(told(whole), now(), ALL, exact=True)
    assert not differences.any
    assert set(differences.same) == set(whole)
    one = now(stream="b")
    assert one
    alone = {i: told(whole)[i] for i in whole if whole[i].newest.stream == "b"}
    assert not compare(alone, one, ALL, exact=True).any


def test_another_sensitivity_shows_what_would_be_told_more_and_less() -> None:
    frames = worlds.world(1, events=4_000, quiet=3_500)
    usual, open_ = (
        gather(of_shadow(shadow.score(frames, worlds.TOPIC_ID, controls, SETTINGS)), Wanted())
        for controls in (Controls(), Controls(1.0, 10_000))
    )
    more = compare(told(usual), open_, {0: 1 << 40}, exact=False)
    assert more.only_now
    assert not more.only_then
    less = compare(told(open_), usual, {0: 1 << 40}, exact=False)
    assert set(less.only_then) == set(more.only_now)
    assert not less.only_now
    assert units(open_) > units(usual)


def test_what_tenants_said_is_obeyed_as_the_worker_did() -> None:
    plain = worlds.world(2, 3_000)
    said = worlds.spoken(2, plain, [])
    assert said
    frames = [replace(n, offset=at) for at, n in enumerate(worlds.with_said(plain, said))]
    outside = Outside([encode(n.frame) for n in frames])
    run(outside, worker(outside, 1 << 40), list(range(len(frames))))
    then = gather(((o.value, None) for o in outside.sent if o.topic == ANOMALIES.name), Wanted())
    assert then
    again = gather(of_shadow(shadow.score(frames, "blocks-1", Controls(), SETTINGS)), Wanted())
    assert not compare(then, again, {0: len(frames)}, exact=True).any


def test_a_what_if_replaces_what_tenants_asked_for_and_keeps_their_mutes() -> None:
    plain = worlds.world(1, 3_000)
    of: dict[str, Any] = {"organization_id": UUID(worlds.ORGANIZATION)}
    words: list[Control] = [
        SettingsControl(**of, version=1, sensitivity=0),
        StreamControl(**of, stream="text", version=1, sensitivity=300, muted=True),
        StreamControl(**of, stream="json", version=1, sensitivity=100),
    ]
    said = worlds.with_said(plain, {0: words})

    def found(frames: Iterable[Numbered]) -> Anomalies:
        return gather(of_shadow(shadow.score(frames, worlds.TOPIC_ID, Controls(1.0, 10_000), SETTINGS)), Wanted())

    usual = {i for i, one in found(plain).items() if one.newest.stream != "text"}
    assert usual < set(found(plain))
    assert set(found(shadow.alike(said))) == usual
    assert set(found(said)) < usual
    rules = with_rule(with_rule({}, 0, words[0]), 0, words[1])
    asked = asked_of(shadow.alike_rules(rules), worlds.ORGANIZATION, "text", Controls(0.7))
    assert asked.controls == Controls(0.7)
    assert asked.muted_until


def test_what_differs_is_found() -> None:
    then = told(now())
    first, second, *_ = then
    del then[first]
    revision = max(then[second].digests)
    then[second].digests[revision] = b"another"
    differences = compare(then, now(), ALL, exact=True)
    assert differences.only_now == (first,)
    assert differences.changed == (second,)
    then[second].digests.pop(revision)
    assert compare(then, now(), ALL, exact=True).changed == (second,)
    stranger = UUID(int=1)
    then[stranger] = then[second]
    assert compare(then, now(), ALL, exact=True).only_then == (stranger,)


def test_what_no_worker_has_finished_is_no_difference() -> None:
    whole = now()
    last = max(whole, key=lambda i: min(whole[i].frames.values()))
    begun = min(frame for _, frame in whole[last].frames.values())
    then = told(whole)
    del then[last]
    differences = compare(then, whole, {0: begun}, exact=True)
    assert differences.later == (last,)
    assert not differences.any
    assert compare(then, whole, {0: begun + 1}, exact=True).only_now == (last,)


def test_anomalies_are_chosen_by_when_they_began_and_whose_they_are() -> None:
    times = sorted(one.newest.created_at for one in now().values())
    assert len(now(wanted=Wanted(since=times[1], until=times[-1]))) == len(
        [t for t in times if times[1] <= t < times[-1]]
    )
    assert not now(wanted=Wanted(organization=UUID(int=1)))
    chosen = now(wanted=Wanted(organization=UUID(ORGANIZATION), stream="a"))
    assert {one.newest.stream for one in chosen.values()} == {"a"}
    assert all(isinstance(one.newest, Anomaly) for one in chosen.values())
