"""Signatures of webhooks as Standard Webhooks says (standard-webhooks/spec, symmetric signatures)."""

import hmac
from base64 import b64encode
from collections.abc import Iterable

SECRET_BYTES = 32


def shown(secret: bytes) -> str:
    """A secret as its owner is given it: `whsec_` and base64."""
    return f"whsec_{b64encode(secret).decode()}"


def headers(message_id: str, at: int, body: bytes, secrets: Iterable[bytes]) -> dict[str, str]:
    """The three headers; `at` in seconds since 1970, a signature for each secret, so that one is good while they rotate."""
    signed = f"{message_id}.{at}.".encode() + body
    made = [f"v1,{b64encode(hmac.digest(secret, signed, 'sha256')).decode()}" for secret in secrets]
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": " ".join(made)}
