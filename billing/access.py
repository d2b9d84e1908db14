"""What an organization may see for its money: asked by the API before it shows or delivers anomalies.

Suspended means 402: scoring, storing and metering go on, and all of it is shown once the invoice is paid.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from billing.dunning import State

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Access:
    """`shown`: whether anomalies may be shown and delivered. `until`: the end of the grace."""

    state: State
    shown: bool
    until: datetime | None
    owed_cents: int

    @property
    def said(self) -> str:
        """One line for the tenant; empty where all is well."""
        if self.state == "grace" and self.until:
            return f"a payment failed: anomalies are shown until {self.until:%Y-%m-%d %H:%M} UTC"
        if not self.shown:
            return "an invoice is unpaid: anomalies are found and kept, and shown once it is paid"
        return ""


def access(connection: Connection, organization_id: UUID, now: datetime) -> Access:
    """The access of an organization, in its tenant's transaction or as any role that reads billing_access.

    A grace whose end has come is over here at once, before the applier has written so.
    """
    row = connection.execute(
        "SELECT state, deadline_at, owed_cents FROM billing_access WHERE organization_id = %s", (organization_id,)
    ).fetchone()
    if row is None:
        return Access("ok", shown=True, until=None, owed_cents=0)
    state, deadline, owed = row
    if state == "grace" and deadline <= now:
        state = "suspended"
    # Cancelled and all paid: the free plan. Cancelled with a debt that is past its grace: as suspended.
    shown = state in ("ok", "grace") or (state == "cancelled" and (deadline is None or now < deadline))
    return Access(state, shown, deadline if state == "grace" else None, owed)
