"""A bundle judged, offline: whole, signed, by whom, the score computed again bit for bit, the ledger's links."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from billing.ledger import entry_hash
from detectors.detector import DETECTOR_VERSION, StateError
from pipeline.evidence import bundle as bundles
from pipeline.evidence.bundle import Bundle
from pipeline.evidence.container import Opened, unseal
from pipeline.evidence.cut import Cut, Start, cut
from schemas.models import Anomaly, AnomalyUsage, BadMessage, usage_from_bytes


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: whether it holds, and what there is to say."""

    name: str
    good: bool
    said: str


@dataclass(frozen=True)
class Verdict:
    """All that was looked at, in order; `anomaly` where it could be read."""

    checks: tuple[Check, ...]
    anomaly: Anomaly | None = None

    @property
    def good(self) -> bool:
        """Yes or no."""
        return all(check.good for check in self.checks)


def verify(data: bytes, trust: Iterable[str] | None = None) -> Verdict:
    """Judge the bytes of a file. `trust`: public keys (hex) that may have signed it; None: any, and that is said.

    `NotABundle` where it is none at all. A part that was changed, or a signer who is not trusted, ends the judging: nothing is computed.
    """
    opened = unseal(data)
    checks = [Check(name, good=False, said=said) for name, said in opened.faults.items()]
    if "signature" not in opened.faults and opened.manifest:
        checks.insert(0, Check("signature", good=True, said=f"of key {opened.key}"))
    if opened.key:
        checks.append(_signer(opened.key, trust))
    # A stranger's state is not given to compiled code, which trusts its indices.
    if opened.faults or not all(check.good for check in checks):
        return Verdict(tuple(checks))
    try:
        bundle = bundles.from_parts(opened.parts)
        *_, newest = [Anomaly.from_bytes(one) for one in bundle.anomaly]
        usage = usage_from_bytes(bundle.usage)
    except (ValueError, KeyError, TypeError, AttributeError, BadMessage) as error:
        return Verdict(
            (*checks, Check("content", good=False, said=f"it can't be read: {' '.join(str(error).split())[:200]}"))
        )
    checks.append(_about(opened, bundle, newest, isinstance(usage, AnomalyUsage)))
    checks += _score(bundle, newest)
    checks.append(_ledger(bundle, newest))
    return Verdict(tuple(checks), newest)


def _signer(key: str, trust: Iterable[str] | None) -> Check:
    if trust is None:
        return Check("signer", good=True, said="not looked at: no trust file was given")
    good = key in set(trust)
    return Check("signer", good, "the key is in the trust file" if good else f"the key {key} is not in the trust file")


def _about(opened: Opened, bundle: Bundle, newest: Anomaly, is_unit: bool) -> Check:
    """Whether all parts speak of one anomaly."""
    manifest, source = opened.manifest, bundle.source
    wrong = [
        what
        for what, fits in (
            ("the manifest names another anomaly", manifest.get("anomaly") == str(newest.id)),
            ("the organization differs", source.organization_id == str(newest.organization_id)),
            ("the stream differs", source.stream == newest.stream),
            (
                "the position differs",
                (source.topic_id, source.partition) == (newest.position.topic_id, newest.position.partition),
            ),
            ("the detector's version differs", bundle.versions.get("detector") == newest.detector_version),
            ("the usage record is of no unit", is_unit),
        )
        if not fits
    ]
    return Check("parts", not wrong, "; ".join(wrong) or f"all of anomaly {newest.id}")


def _score(bundle: Bundle, newest: Anomaly) -> list[Check]:
    if bundle.versions.get("detector") != DETECTOR_VERSION:
        said = f"made by detector {bundle.versions.get('detector')}, this release has {DETECTOR_VERSION}: verify with that release"
        return [Check("score", good=False, said=said)]
    try:
        again = cut(bundle.steps, bundle.source, newest.id, newest.position.frame, Start(-1, bundle.state))
    except (StateError, ValueError, OverflowError) as error:
        return [Check("score", good=False, said=f"it can't be computed: {error}")]
    here = bundles.versions()["zstd"]
    same_zstd = bundle.versions.get("zstd") == here
    plain: Callable[[bytes], object] = (lambda value: value) if same_zstd else _without_metrics
    wrong = _differing(bundle, again, plain)
    count = f"{len(again.anomaly)} revisions of {sum(len(step.events) for step in bundle.steps):,} events"
    checks = [Check("score", not wrong, wrong or f"computed again bit for bit: {count}")]
    if not same_zstd:
        said = f"sizes are of zstd {bundle.versions.get('zstd')}, here is {here}: not compared, all else was"
        checks.append(Check("metrics", good=True, said=said))
    return checks


def _differing(bundle: Bundle, again: Cut, plain: Callable[[bytes], object]) -> str:
    if len(again.anomaly) != len(bundle.anomaly):
        return f"{len(again.anomaly)} revisions are computed, {len(bundle.anomaly)} are in the bundle"
    for mine, theirs in zip(again.anomaly, bundle.anomaly, strict=True):
        if plain(mine) != plain(theirs):
            mine_, theirs_ = orjson.loads(mine), orjson.loads(theirs)
            names = [name for name in mine_ if mine_[name] != theirs_.get(name)]
            return f"revision {mine_['revision']} is computed otherwise: {', '.join(names) or 'its bytes'}"
    return "" if again.usage == bundle.usage else "the usage record is computed otherwise"


def _without_metrics(value: bytes) -> object:
    said = orjson.loads(value)
    said.pop("metrics", None)
    return said


def _ledger(bundle: Bundle, newest: Anomaly) -> Check:
    rows = bundle.ledger
    if not rows:
        return Check(
            "ledger", good=True, said="not in this bundle: it was made without the database, or before it was booked"
        )
    for before, row in zip((None, *rows), rows, strict=False):
        if row.hash != entry_hash(row.prev_hash, row.seq, row.entry):
            return Check("ledger", good=False, said=f"entry {row.seq} is not what its hash seals")
        if before is not None and before.seq + 1 == row.seq and before.hash != row.prev_hash:
            return Check("ledger", good=False, said=f"entry {row.seq} does not follow entry {before.seq}")
        if str(row.entry.organization_id) != bundle.source.organization_id:
            return Check("ledger", good=False, said=f"entry {row.seq} is of another organization")
    own = [row for row in rows if row.entry.usage_id == newest.id]
    if not own:
        return Check("ledger", good=False, said="no entry is of this anomaly")
    return Check(
        "ledger", good=True, said=", ".join(f"entry {r.seq}: {r.entry.units} {r.entry.disposition}" for r in own)
    )
