"""`driftlock ledger ...` and `driftlock audit verify`: whether the hash chains are whole, and heads signed outside."""

import base64
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from billing import actions, signed_heads
from billing import ledger as books
from billing.chain import Fault
from billing.signed_heads import Chain
from pipeline import heads as folders
from pipeline import jobs
from schemas.settings import Settings, load

_Verify = Callable[[psycopg.Connection[Any], UUID], Fault | None]


def verify(*, organization: UUID | None = None, heads: Path | None = None) -> int:
    """Check the hash chain of the ledger, and name the first row that was changed, removed or inserted. Exit code 1 then.

    Parameters
    ----------
    organization
        Only this one; else all.
    heads
        A folder of signed heads to compare with, so that a tail that was cut off shows.
    """
    return _verify("ledger", books.verify, organization, heads)


def audit(*, organization: UUID | None = None, heads: Path | None = None) -> int:
    """Check the hash chain of the audit trail, and name the first action that was changed, removed or inserted. Exit code 1 then.

    Parameters
    ----------
    organization
        Only this one; else all.
    heads
        A folder of signed heads to compare with, so that a tail that was cut off shows.
    """
    return _verify("actions", actions.verify, organization, heads)


def sign_heads(*, to: Path, at: datetime | None = None) -> None:
    """Sign how each chain ends now, into a new file. Run it daily, and keep the folder away from the database.

    Parameters
    ----------
    to
        The folder.
    at
        Take this for the present (UTC), for recorded data.
    """
    settings = load(os.environ)
    key = folders.signing_key(settings)
    with jobs.connect(settings) as connection:
        found = signed_heads.current(connection)
    path = folders.write(to, key, found, jobs.present(at))
    sys.stdout.write(f"{path}: {len(found)} heads\n")


def new_key() -> None:
    """Print a new pair of keys for LEDGER_SIGNING_KEY (a secret) and LEDGER_VERIFY_KEY (public)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    for name, raw in (
        ("LEDGER_SIGNING_KEY", key.private_bytes_raw()),
        ("LEDGER_VERIFY_KEY", key.public_key().public_bytes_raw()),
    ):
        sys.stdout.write(f"{name}={base64.b64encode(raw).decode()}\n")


def _verify(chain: Chain, check: _Verify, organization: UUID | None, folder: Path | None) -> int:
    settings = load(os.environ)
    with jobs.connect(settings) as connection:
        wanted = [organization] if organization else _all(connection, chain)
        said = [f"organization {one}: {fault.what}" for one in wanted if (fault := check(connection, one)) is not None]
        if folder is not None:
            said += _against(settings, connection, chain, organization, folder)
    sys.stdout.write("".join(f"{line}\n" for line in said))
    faults = len(said)
    sys.stdout.write(f"{chain}: {len(wanted)} chains, {faults} fault{'' if faults == 1 else 's'}\n")
    return 1 if said else 0


def _all(connection: psycopg.Connection[Any], chain: Chain) -> Sequence[UUID]:
    return books.organizations(connection) if chain == "ledger" else actions.organizations(connection)


def _against(
    settings: Settings, connection: psycopg.Connection[Any], chain: Chain, organization: UUID | None, folder: Path
) -> list[str]:
    sound, broken = folders.read(folder, folders.verify_key(settings))
    return broken + signed_heads.compare(connection, sound, chain, organization)
