"""What people type, checked once: names, e-mail addresses, passwords. `Invalid` says what is wrong, never the text."""

import re
from email.errors import HeaderParseError
from email.headerregistry import Address

from pipeline.accounts.errors import Invalid

LEAST_PASSWORD, MOST_PASSWORD = 10, 256
_BROKEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_EMAIL = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9-]+(?:\.[a-z0-9-]+)*")


def line(value: str, what: str, most: int, least: int = 1) -> str:
    """One line of text without control characters, its ends stripped."""
    said = value.strip()
    if not least <= len(said) <= most:
        raise Invalid(f"{what} must have {least} to {most} characters")
    if _BROKEN.search(said):
        raise Invalid(f"{what} has a control character")
    return said


def email(value: str) -> str:
    """An e-mail address in lower case, as it is compared and kept.

    >>> email(" Ann@Example.org ")
    'ann@example.org'
    """
    said = value.strip().lower()
    if len(said) > 254 or not _EMAIL.fullmatch(said):
        raise Invalid("email is no e-mail address")
    try:
        Address(addr_spec=said)
    except (ValueError, IndexError, HeaderParseError) as error:
        raise Invalid("email is no e-mail address") from error
    return said


def password(value: str) -> str:
    """A password: its length alone is asked for (NIST SP 800-63B, 5.1.1.2)."""
    if not LEAST_PASSWORD <= len(value) <= MOST_PASSWORD:
        raise Invalid(f"password must have {LEAST_PASSWORD} to {MOST_PASSWORD} characters")
    if max(value) >= "\ud800" and any("\ud800" <= c <= "\udfff" for c in value):
        raise Invalid("password is not Unicode")
    return value
