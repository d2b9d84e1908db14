"""What the pages of accounts are built from: connections, the key of access tokens, settings, a clock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from fastapi import Request

from billing.stripe_gateway import Connection as Stripe
from dashboards.console.live import Hub
from dashboards.console.problems import Problem
from pipeline.accounts.pools import Pools
from schemas.settings import Settings


@dataclass(frozen=True)
class Parts:
    """`announce` tells packers and workers of a new organization; `clock` gives the time, aware, in UTC.

    `stripe`: None where no key is set, then plans can't be changed here.
    """

    pools: Pools
    key: bytes
    settings: Settings
    announce: Callable[[UUID], None]
    clock: Callable[[], datetime]
    hub: Hub
    stripe: Stripe | None = None


def of(request: Request) -> Parts:
    """The application's parts. 503 where it was started without a database."""
    known = request.app.state.parts
    if known is None:
        raise Problem(503, "Accounts are not available here.", "This console was started without a database.")
    return cast("Parts", known)
