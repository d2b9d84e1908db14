"""Signed heads: the ends of all chains, signed and kept outside the database, so that a chain whose tail was cut shows.

A chain alone can't tell that its last entries and its head were cut together. A file of signed heads says how long each
chain was and how it ended; it names the file before it, so that a missing file shows too.

A file is two lines: the payload, a JSON object, and the signature (Ed25519, RFC 8032) of a tag and the payload's bytes.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson
import psycopg
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from billing.periods import instant, milliseconds
from schemas.errors import SettingsError

Connection = psycopg.Connection[Any]
Chain = Literal["ledger", "actions"]

_TAG = b"driftlock.heads.1\n"
_TABLES: Mapping[Chain, tuple[str, str]] = {
    "ledger": ("ledger_heads", "ledger"),
    "actions": ("action_heads", "billing_actions"),
}


@dataclass(frozen=True, order=True)
class SignedHead:
    """The end of one chain: its last number and hash (hex)."""

    chain: Chain
    organization_id: UUID
    seq: int
    hash: str


@dataclass(frozen=True)
class Heads:
    """The content of a file. `previous`: name and sha256 (hex) of the file before it, None for the first."""

    at: datetime
    heads: tuple[SignedHead, ...]
    previous: tuple[str, str] | None


def private_key(text: str) -> Ed25519PrivateKey:
    """The key of LEDGER_SIGNING_KEY: base64 of 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(_bytes("LEDGER_SIGNING_KEY", text))


def public_key(text: str) -> Ed25519PublicKey:
    """The key of LEDGER_VERIFY_KEY: base64 of 32 bytes."""
    return Ed25519PublicKey.from_public_bytes(_bytes("LEDGER_VERIFY_KEY", text))


def _bytes(name: str, text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise SettingsError(f"{name} must be 32 bytes as base64: `driftlock ledger new-key` makes a pair")
    return raw


def current(connection: Connection) -> tuple[SignedHead, ...]:
    """The end of every chain that has one, in one snapshot. Runs as driftlock_jobs."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return tuple(
            SignedHead(chain, organization_id, seq, hash_.hex())
            for chain, (heads, _) in _TABLES.items()
            for organization_id, seq, hash_ in connection.execute(
                f"SELECT organization_id, seq, hash FROM {heads} WHERE seq > 0 ORDER BY organization_id"  # noqa: S608
            )
        )


def sign(key: Ed25519PrivateKey, heads: Iterable[SignedHead], at: datetime, previous: tuple[str, str] | None) -> bytes:
    """The content of a file that says how the chains ended at `at`."""
    payload = orjson.dumps(
        {
            "v": 1,
            "at": milliseconds(at),
            "previous": previous,
            "heads": [[h.chain, str(h.organization_id), h.seq, h.hash] for h in heads],
        }
    )
    return payload + b"\n" + base64.b64encode(key.sign(_TAG + payload)) + b"\n"


def read(content: bytes, key: Ed25519PublicKey) -> Heads | None:
    """What a file says; None if its signature is not of `key`, or it is no such file."""
    try:
        payload, signature = content.split(b"\n")[:2]
        key.verify(base64.b64decode(signature, validate=True), _TAG + payload)
    except (InvalidSignature, ValueError):  # binascii's error is a ValueError
        return None
    value = orjson.loads(payload)
    return Heads(
        instant(value["at"]),
        tuple(SignedHead(chain, UUID(of), seq, hash_) for chain, of, seq, hash_ in value["heads"]),
        None if value["previous"] is None else (value["previous"][0], value["previous"][1]),
    )


def broken(files: Sequence[tuple[str, bytes]], key: Ed25519PublicKey) -> list[str]:
    """What is wrong with files, given with their names in order of time: signatures, and files that were taken away."""
    said = []
    before: tuple[str, str] | None = None
    for name, content in files:
        found = read(content, key)
        if found is None:
            said.append(f"{name}: its signature is not of this key, or it was changed")
        elif found.previous != before:
            missing = found.previous[0] if found.previous else "none"
            said.append(f"{name}: the file before it must be {missing}, and is {before[0] if before else 'missing'}")
        before = (name, hashlib.sha256(content).hexdigest())
    return said


def compare(
    connection: Connection, signed: Iterable[Heads], chain: Chain, organization_id: UUID | None = None
) -> list[str]:
    """Where the database lacks what was signed, a line each: all organizations, or one. Reads only.

    Every file counts, not the newest alone: a chain that was written anew and signed since fits the newest.
    """
    wanted: dict[SignedHead, datetime] = {}
    for file in signed:
        for head in file.heads:
            if head.chain == chain and organization_id in {None, head.organization_id}:
                wanted.setdefault(head, file.at)
    heads = sorted(wanted)
    said = []
    for at in range(0, len(heads), _PORTION):
        portion = heads[at : at + _PORTION]
        found = _stored(connection, chain, portion)
        for head in portion:
            there = found.get((head.organization_id, head.seq))
            if there != head.hash:
                what = "is gone: what follows the last row was cut off" if there is None else "is another one now"
                said.append(
                    f"organization {head.organization_id}: number {head.seq} of {chain}, signed at"
                    f" {wanted[head]:%Y-%m-%dT%H:%M:%SZ}, {what}"
                )
    return said


_PORTION = 10_000


def _stored(connection: Connection, chain: Chain, heads: Sequence[SignedHead]) -> dict[tuple[UUID, int], str]:
    rows = connection.execute(
        f"SELECT organization_id, seq, hash FROM unnest(%s::uuid[], %s::bigint[]) AS asked (organization_id, seq)"  # noqa: S608
        f" JOIN {_TABLES[chain][1]} USING (organization_id, seq)",
        ([h.organization_id for h in heads], [h.seq for h in heads]),
    )
    return {(of, seq): hash_.hex() for of, seq, hash_ in rows}
