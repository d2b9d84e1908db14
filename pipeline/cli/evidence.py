"""`driftlock evidence export|keygen` and `driftlock verify`: an anomaly in a signed file, and whether it is true."""

import os
import sys
from pathlib import Path
from typing import Annotated
from uuid import UUID

from cyclopts import Parameter

from billing.periods import instant
from pipeline.evidence import keys
from pipeline.evidence.container import seal
from pipeline.scan.printable import short
from schemas.errors import DriftlockError
from schemas.settings import load


class BadFile(DriftlockError):
    """A file can't be read or written."""


def export(
    anomaly: UUID, *, output: Annotated[Path, Parameter(name=["--output", "-o"])], sensitivity: float | None = None
) -> None:
    """Write an anomaly's events, settings, state before, scores and ledger entries into one signed file.

    Parameters
    ----------
    anomaly
        Its id.
    output
        The file to write; none may be there.
    sensitivity
        The installation's sensitivity when it was told, if it is not the present one. What its organization asked for is known.
    """
    from pipeline.evidence.bundle import to_parts
    from pipeline.evidence.export import collect
    from pipeline.replay.shadow import controls_of

    if sensitivity is not None and not 0 <= sensitivity <= 1:
        raise BadFile(f"--sensitivity {sensitivity}: give a number from 0 to 1")
    settings = load(os.environ)
    key = keys.signing_key(settings)
    bundle = collect(settings, anomaly, controls_of(settings, sensitivity))
    data = seal(to_parts(bundle), {"anomaly": str(anomaly)}, key)
    try:
        with output.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise BadFile(f"{output} can't be written: {error.strerror}") from error
    events = sum(len(step.events) for step in bundle.steps)
    sys.stdout.write(
        f"{output}: {len(data):,} bytes, {events:,} events, {len(bundle.anomaly)} revisions,"
        f" {len(bundle.ledger)} ledger entries, signed by {keys.public(key)}\n"
    )


def keygen(file: Path) -> None:
    """Make a key for EVIDENCE_SIGNING_KEY_FILE; print its public half, the line for a trust file.

    Parameters
    ----------
    file
        The file for the secret half, readable by its owner alone; none may be there.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    keys.write_new(file, key)
    sys.stdout.write(f"{keys.public(key)}\n")


def verify(file: Path, *, trust: Path | None = None) -> int:
    """Say whether an evidence file is true: compute its score again, offline. Exit code 0: yes, 1: no, 2: no such file.

    Parameters
    ----------
    file
        The bundle.
    trust
        Keys that may have signed it, 64 hex digits a line; else the file of EVIDENCE_TRUST. Without either, who signed is told and not judged.
    """
    from pipeline.evidence.verify import verify as judge

    settings = load(os.environ)
    named = trust or (Path(settings.evidence_trust) if settings.evidence_trust else None)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BadFile(f"{file} can't be read: {error.strerror}") from error
    verdict = judge(data, None if named is None else keys.trusted(named))
    for check in verdict.checks:
        sys.stdout.write(f"{'ok  ' if check.good else 'FAIL'}  {check.name:10}  {short(check.said, 300)}\n")
    if verdict.anomaly is not None:
        told = verdict.anomaly
        sys.stdout.write(
            f"\n{told.severity} {told.kind} in stream {short(told.stream, 60)} of {told.organization_id},"
            f" {instant(told.created_at):%Y-%m-%dT%H:%M:%SZ}\n{short(told.explanation.sentence, 300)}\n"
        )
    sys.stdout.write(f"\n{'yes: the bundle is true' if verdict.good else 'NO: the bundle is not to be believed'}\n")
    return 0 if verdict.good else 1
