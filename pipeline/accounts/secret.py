"""Secrets of 256 random bits: given out once, kept as their sha256."""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode


def new_token() -> str:
    """43 characters that nobody guesses."""
    return secrets.token_urlsafe(32)


def digest(text: str) -> bytes:
    """What is kept of a secret. It has 256 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def successor(key: bytes, token: str) -> str:
    """The refresh token that replaces `token`: always the same one, so that two requests at once get the same."""
    made = hmac.digest(key, b"refresh\n" + token.encode("utf-8", "surrogatepass"), "sha256")
    return urlsafe_b64encode(made).rstrip(b"=").decode()
