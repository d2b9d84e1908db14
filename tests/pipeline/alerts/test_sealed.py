"""Sealed secrets: opened with their key at their endpoint, and nowhere else."""

import uuid

import pytest

from pipeline.alerts.sealed import NotSealedHere, keys_of, seal, unseal
from schemas.errors import SettingsError
from schemas.settings import load

O, E = uuid.UUID(int=1), uuid.UUID(int=2)  # noqa: E741 - an organization
KEYS = keys_of(load({"ALERTS_SECRET_KEY": f"{'n' * 32}, {'o' * 40}"}))
NONCE = bytes(range(12))


def test_what_is_sealed_opens_at_its_endpoint_only() -> None:
    sealed = seal(KEYS, O, E, b"secret", NONCE)
    assert b"secret" not in sealed
    assert unseal(KEYS, O, E, sealed) == b"secret"
    assert unseal(KEYS[::-1], O, E, sealed) == b"secret"
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for keys, o, e, what in (
        (KEYS, E, E, sealed), (KEYS, O, O, sealed), (KEYS[1:], O, E, sealed), ((), O, E, sealed), (KEYS, O, E, changed),
        (KEYS, O, E, b""), (KEYS, O, E, b"\x02" + sealed[1:]), (KEYS, O, E, sealed[:9]),
    ):  # fmt: skip
        with pytest.raises(NotSealedHere):
            unseal(keys, o, e, what)


def test_a_short_key_is_refused_and_none_is_none() -> None:
    assert keys_of(load({})) == ()
    with pytest.raises(SettingsError, match="ALERTS_SECRET_KEY"):
        keys_of(load({"ALERTS_SECRET_KEY": "short"}))  # pragma: allowlist secret
