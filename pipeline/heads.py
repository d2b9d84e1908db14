"""The folder of signed heads: one file per signing, never overwritten, its name in order of time."""

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from billing import signed_heads
from billing.signed_heads import Heads, SignedHead
from schemas.errors import SettingsError
from schemas.settings import Settings

_PATTERN = "heads-*.json"


def signing_key(settings: Settings) -> Ed25519PrivateKey:
    """The key of the settings; `SettingsError` in one line."""
    text = settings.ledger_signing_key.get_secret_value()
    if not text:
        raise SettingsError("LEDGER_SIGNING_KEY is not set: `driftlock ledger new-key` makes a pair")
    return signed_heads.private_key(text)


def verify_key(settings: Settings) -> Ed25519PublicKey:
    """LEDGER_VERIFY_KEY, else what belongs to LEDGER_SIGNING_KEY."""
    if settings.ledger_verify_key:
        return signed_heads.public_key(settings.ledger_verify_key)
    return signing_key(settings).public_key()


def files(folder: Path) -> list[tuple[str, bytes]]:
    """The files of a folder, the oldest first."""
    if not folder.is_dir():
        raise SettingsError(f"{folder} is no folder")
    return [(path.name, path.read_bytes()) for path in sorted(folder.glob(_PATTERN))]


def write(folder: Path, key: Ed25519PrivateKey, heads: tuple[SignedHead, ...], at: datetime) -> Path:
    """Sign the heads into a new file of the folder, which is made if it is not there; on the disk when this returns."""
    folder.mkdir(parents=True, exist_ok=True)
    known = files(folder)
    previous = (known[-1][0], hashlib.sha256(known[-1][1]).hexdigest()) if known else None
    path = folder / f"heads-{at.astimezone(UTC):%Y%m%dT%H%M%S%fZ}.json"
    if known and path.name <= known[-1][0]:
        raise SettingsError(f"{folder} has a later file, {known[-1][0]}: is this machine's clock right?")
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        file.write(signed_heads.sign(key, heads, at, previous))
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    return path


def read(folder: Path, key: Ed25519PublicKey) -> tuple[list[Heads], list[str]]:
    """What the sound files of a folder say, the oldest first, and what is wrong with the others."""
    known = files(folder)
    if not known:
        raise SettingsError(f"{folder} has no signed heads: `driftlock ledger sign-heads --to {folder}` writes them")
    sound = [found for _, content in known if (found := signed_heads.read(content, key)) is not None]
    return sound, signed_heads.broken(known, key)
