"""What webhooks of tenants are sent: an event of Standard Webhooks' form around a notice, by type."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import create_model

from schemas.models import Message
from schemas.notices import (
    AnomalyCreated,
    AnomalyResolved,
    AnomalyUpdated,
    BillingPaymentFailed,
    BillingPlanChanged,
    EndpointTest,
    Notice,
    UsageCapReached,
    UsageThreshold,
)

EVENTS: Mapping[str, type[Notice]] = MappingProxyType(
    {
        "anomaly.created": AnomalyCreated,
        "anomaly.updated": AnomalyUpdated,
        "anomaly.resolved": AnomalyResolved,
        "usage.threshold": UsageThreshold,
        "usage.cap_reached": UsageCapReached,
        "billing.payment_failed": BillingPaymentFailed,
        "billing.plan_changed": BillingPlanChanged,
        "endpoint.test": EndpointTest,
    }
)
"""Type of an outbound event → its data."""

BODIES: Mapping[str, type[Message]] = MappingProxyType(
    {
        kind: create_model(
            f"{notice.__name__}Event",
            __base__=Message,
            __doc__="The body of a webhook. `timestamp`: when it became true, RFC 3339 in UTC; the header is of the attempt.",
            type=(Literal[kind], ...),  # type: ignore[arg-type]
            timestamp=(str, ...),
            data=(notice, ...),
        )
        for kind, notice in EVENTS.items()
    }
)
"""Type of an outbound event → the body of its webhook. Each has its schema in schemas/json/events."""

CHOSEN = ("usage.threshold", "usage.cap_reached", "billing.payment_failed", "billing.plan_changed")
"""The types that an endpoint chooses itself; anomalies come by rules, a test by whoever sends it."""
