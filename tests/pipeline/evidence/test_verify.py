"""Bundles verify; every change of a byte, and every remade content, is caught and named. `make evidence-check` does a thousand."""

import itertools
import random
from dataclasses import replace
from uuid import UUID

import orjson
import pytest

from detectors.detector import Controls
from pipeline.evidence import bundle as bundles
from pipeline.evidence import container, keys
from pipeline.evidence.container import NotABundle
from pipeline.evidence.verify import Verdict, verify
from pipeline.worker.rules import Asked
from schemas.controls import ForgetControl, SettingsControl
from schemas.models import Anomaly
from tests.pipeline.evidence import cases
from tests.pipeline.evidence.cases import CONTROLS, KEY, OTHER_KEY, Case, reseal
from tests.pipeline.replay import worlds

TRUST = {keys.public(KEY)}
SEEDS = range(100, 104)


@pytest.fixture(scope="module")
def some() -> list[Case]:
    """All bundles of some worlds."""
    return [case for seed in SEEDS for case in cases.cases(seed)]


def bad(verdict: Verdict) -> set[str]:
    """The checks that failed."""
    return {check.name for check in verdict.checks if not check.good}


def test_random_bundles_hold_what_was_told_and_verify(some: list[Case]) -> None:
    kinds = {Anomaly.from_bytes(case.told[-1]).kind for case in some}
    assert len(some) >= 10
    assert "silence" in kinds
    assert len(kinds) > 2
    for case in some:
        assert case.bundle.anomaly == case.told
        verdict = verify(case.sealed, TRUST)
        assert verdict.good, verdict.checks
        assert {"signature", "signer", "parts", "score", "ledger"} <= {check.name for check in verdict.checks}
        assert reseal(case.bundle) == case.sealed
    assert any(case.bundle.ledger for case in some)


def test_every_change_of_a_byte_is_caught_and_named(some: list[Case]) -> None:
    rng = random.Random(5)
    for case in itertools.islice(itertools.cycle(some), 150):
        at = rng.randrange(len(case.sealed))
        changed = bytearray(case.sealed)
        changed[at] ^= rng.randrange(1, 256)
        failed = bad(verify(bytes(changed), TRUST))
        assert failed & part_at(case.sealed, at), at


def test_every_byte_of_what_lies_around_the_parts_counts(some: list[Case]) -> None:
    sealed = some[0].sealed
    head = len(sealed) - len(sealed.split(b"\n", 3)[3])
    for at in range(head):
        for bit in (1, 32):
            changed = bytearray(sealed)
            changed[at] ^= bit
            assert not verify(bytes(changed), TRUST).good
    assert bad(verify(sealed + b"x", TRUST)) == {"end"}
    assert "end" in bad(verify(sealed[:-1], TRUST))


def part_at(sealed: bytes, at: int) -> set[str]:
    """What `verify` may call the place of a byte."""
    first, manifest, _, body = sealed.split(b"\n", 3)
    begins = len(sealed) - len(body)
    if at <= len(first):
        return {"first line"}
    if at < begins:
        return {"manifest", "signature"}
    for name, size, _ in orjson.loads(manifest)["parts"]:
        begins += size
        if at < begins:
            return {str(name)}
    raise AssertionError(at)


def with_anomaly(case: Case, **more: object) -> Case:
    """The last revision says something else."""
    *before, last = case.bundle.anomaly
    said = orjson.dumps(orjson.loads(last) | more)
    return replace(case, bundle=replace(case.bundle, anomaly=(*before, said)))


def test_remade_content_is_caught_whoever_signs_it(some: list[Case]) -> None:
    case = next(case for case in some if case.bundle.ledger)
    louder = with_anomaly(case, score_bits=1 << 24)
    assert bad(verify(reseal(louder.bundle), TRUST)) == {"score"}
    *events, last = case.bundle.steps
    kept = replace(case.bundle, steps=(*events, replace(last, through=last.through + (1 << 40))))
    first = case.bundle.steps[0]
    event = first.events[-1]
    other = replace(first, events=(*first.events[:-1], replace(event, body=event.body + b"!")))
    changed = replace(case.bundle, steps=(other, *case.bundle.steps[1:]))
    for bundle, wrong in (
        (changed, {"score"}),
        (replace(case.bundle, steps=case.bundle.steps[:-1]), {"score"}),
        (replace(case.bundle, state=b"DLS\x02nonsense"), {"score"}),
        (replace(case.bundle, versions={**case.bundle.versions, "detector": "0"}), {"score", "parts"}),
        (replace(case.bundle, source=replace(case.bundle.source, stream="x")), {"score", "parts"}),
        (replace(case.bundle, ledger=case.bundle.ledger[:1]), {"ledger"}),
        (replace(case.bundle, ledger=tuple(replace(r, prev_hash=bytes(32)) for r in case.bundle.ledger)), {"ledger"}),
    ):
        assert bad(verify(reseal(bundle), TRUST)) == wrong
    assert kept.steps != case.bundle.steps


@pytest.mark.parametrize("said", [b"", b"[]", b"no JSON", b'{"revision":NaN}'], ids=str)
def test_a_revision_that_can_not_be_read_is_said(some: list[Case], said: bytes) -> None:
    case = next(case for case in some if len(case.bundle.anomaly) > 1)
    changed = replace(case.bundle, anomaly=(said, *case.bundle.anomaly[1:]))
    assert bad(verify(reseal(changed), TRUST)) == {"content"}


@pytest.fixture(scope="module")
def interrupted() -> list[Case]:
    """Bundles of a world whose organization says something in the middle of each episode."""
    return list(cases.of(cases.interrupted(301, 3_000), 301))


def test_what_was_said_within_an_episode_is_kept_and_computed_again(interrupted: list[Case]) -> None:
    steps = [step for case in interrupted for step in case.bundle.steps]
    assert {"feedback", "stream"} <= {said.kind for step in steps for said in step.changes}
    assert any(step.asked.paused for step in steps)
    assert any(step.asked.muted_until > 0 for step in steps)
    assert {0.99, 1.0} <= {step.asked.controls.sensitivity for step in steps}
    assert not any(step.events for step in steps if step.asked.paused)
    for case in interrupted:
        assert case.bundle.anomaly == case.told
        assert verify(case.sealed, TRUST).good
        assert bundles.from_parts(bundles.to_parts(case.bundle)) == case.bundle


def test_another_wish_or_another_word_gives_other_bytes() -> None:
    frames = worlds.world(103, 3_000)
    loud = SettingsControl(organization_id=UUID(worlds.ORGANIZATION), version=1, sensitivity=1_000)
    spoken = list(cases.of(worlds.with_said(frames, {0: [loud]}), 103, Controls(0.0, 10_000)))
    assert len(spoken) > 3
    for case in spoken:
        assert case.bundle.anomaly == case.told
        assert verify(case.sealed, TRUST).good
        for other in (Asked(Controls(0.0, 10_000)), Asked(CONTROLS, muted_until=1 << 50), Asked(CONTROLS, paused=True)):
            steps = tuple(replace(step, asked=other) for step in case.bundle.steps)
            assert bad(verify(reseal(replace(case.bundle, steps=steps)), TRUST)) == {"score"}
        first, *rest = case.bundle.steps
        forgotten = ForgetControl(
            organization_id=UUID(worlds.ORGANIZATION), stream=case.bundle.source.stream, version=1
        )
        steps = (replace(first, changes=(forgotten,)), *rest)
        assert bad(verify(reseal(replace(case.bundle, steps=steps)), TRUST)) == {"score"}


def test_score_and_signature_both_remade_fail_by_the_trust_file(some: list[Case]) -> None:
    forged = reseal(some[0].bundle, OTHER_KEY)
    assert verify(forged).good  # sound in itself: nobody said whom to trust
    assert bad(verify(forged, TRUST)) == {"signer"}
    assert verify(forged, TRUST | {keys.public(OTHER_KEY)}).good


def test_another_zstd_leaves_out_sizes_alone(some: list[Case]) -> None:
    case = some[0]
    other = replace(case.bundle, versions={**case.bundle.versions, "zstd": "0.0.1"})
    verdict = verify(reseal(other), TRUST)
    assert verdict.good
    assert "not compared" in next(check.said for check in verdict.checks if check.name == "metrics")
    assert bad(verify(reseal(with_anomaly(replace(case, bundle=other), count=99).bundle), TRUST)) == {"score"}


def test_what_is_no_bundle_is_said() -> None:
    for data in (b"", container.FIRST_LINE, b"PK\x03\x04" * 99):
        with pytest.raises(NotABundle):
            verify(data)
    junk = container.FIRST_LINE + b"{}\n00\n"
    assert bad(verify(junk)) == {"manifest"}
    parts = dict.fromkeys(container.PARTS, b"{}")
    assert bad(verify(container.seal(parts, {"anomaly": "x"}, KEY), TRUST)) == {"content"}
