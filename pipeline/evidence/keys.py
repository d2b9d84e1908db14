"""Keys of evidence: the one that signs, and the file of those that are trusted."""

import base64
import binascii
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.errors import SettingsError
from schemas.settings import Settings


def signing_key(settings: Settings) -> Ed25519PrivateKey:
    """The key of EVIDENCE_SIGNING_KEY (or the file of EVIDENCE_SIGNING_KEY_FILE): base64 of 32 bytes."""
    text = settings.evidence_signing_key.get_secret_value()
    if not text:
        raise SettingsError("EVIDENCE_SIGNING_KEY is not set: `driftlock evidence keygen FILE` makes a key")
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise SettingsError(
            "EVIDENCE_SIGNING_KEY must be 32 bytes as base64: `driftlock evidence keygen FILE` makes a key"
        )
    return Ed25519PrivateKey.from_private_bytes(raw)


def public(key: Ed25519PrivateKey) -> str:
    """The public half as a trust file has it, 64 hex digits."""
    return key.public_key().public_bytes_raw().hex()


def write_new(path: Path, key: Ed25519PrivateKey) -> None:
    """Write a key into a new file that only its owner can read; `SettingsError` where there is one already."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(base64.b64encode(key.private_bytes_raw()) + b"\n")
    except OSError as error:
        raise SettingsError(f"{path} can't be written: {error.strerror}") from error


def trusted(path: Path) -> frozenset[str]:
    """The keys of a trust file: one a line, 64 hex digits; what follows # is a remark."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the trust file {path} can't be read: {error}") from error
    found = set()
    for number, line in enumerate(lines, 1):
        said = line.partition("#")[0].strip().lower()
        if not said:
            continue
        if len(said) != 64 or not set(said) <= set("0123456789abcdef"):
            raise SettingsError(f"{path}, line {number}: a public key has 64 hex digits")
        found.add(said)
    return frozenset(found)
