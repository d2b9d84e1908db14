"""The receiver's part: a webhook's raw body is verified, read and stored. It is applied later, by another process."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg

from billing import events
from billing.stripe_gateway import verify_webhook

MOST_BYTES = 512 * 1024
"""Of a body: Stripe's are a few KiB, an invoice with many lines some hundred."""


def receive(
    connection: psycopg.Connection[Any], body: bytes, header: str, secrets: Sequence[str], now: datetime
) -> bool:
    """Store an event; False if it is known already. As role driftlock_api, which can do nothing else with events.

    Raises `BadSignature`, `events.BadEvent`, or `events.WrongMode`: each is a 400.
    """
    verify_webhook(body, header, secrets, int(now.timestamp()))
    return events.store(connection, events.parse(body), now)


def secrets_of(setting: str) -> tuple[str, ...]:
    """The secrets of STRIPE_WEBHOOK_SECRETS: comma separated, several while they are rotated."""
    return tuple(secret for part in setting.split(",") if (secret := part.strip()))
