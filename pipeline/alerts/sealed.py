"""Secrets of endpoints as the database holds them: AES-256-GCM, bound to their organization and endpoint.

What is moved to another endpoint's row does not open there. The first key of ALERTS_SECRET_KEY seals, any of them opens,
so that a key is replaced by putting the new one in front.
"""

from collections.abc import Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.errors import SettingsError
from schemas.settings import Settings

LEAST_KEY = 32
NONCE_BYTES = 12
_VERSION = b"\x01"


class NotSealedHere(Exception):
    """None of the keys opens it."""


def keys_of(settings: Settings) -> tuple[bytes, ...]:
    """The keys of ALERTS_SECRET_KEY, none where it is not set; `SettingsError` for a short one."""
    given = [key.strip() for key in settings.alerts_secret_key.get_secret_value().split(",") if key.strip()]
    if any(len(key) < LEAST_KEY for key in given):
        raise SettingsError(f"ALERTS_SECRET_KEY: each key must have {LEAST_KEY} characters or more")
    return tuple(HKDF(hashes.SHA256(), 32, None, b"driftlock alert secrets").derive(key.encode()) for key in given)


def seal(keys: Sequence[bytes], organization_id: UUID, endpoint_id: UUID, secret: bytes, nonce: bytes) -> bytes:
    """The sealed secret; `nonce`: 12 random bytes, never the same twice (NIST SP 800-38D, 8.2.2)."""
    return _VERSION + nonce + AESGCM(keys[0]).encrypt(nonce, secret, _bound(organization_id, endpoint_id))


def unseal(keys: Sequence[bytes], organization_id: UUID, endpoint_id: UUID, sealed: bytes) -> bytes:
    """The secret. `NotSealedHere`."""
    nonce, rest = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    for key in keys if sealed[:1] == _VERSION else ():
        try:
            return AESGCM(key).decrypt(nonce, rest, _bound(organization_id, endpoint_id))
        except (InvalidTag, ValueError):
            continue
    raise NotSealedHere("no key of ALERTS_SECRET_KEY opens the endpoint's secret")


def _bound(organization_id: UUID, endpoint_id: UUID) -> bytes:
    return organization_id.bytes + endpoint_id.bytes
