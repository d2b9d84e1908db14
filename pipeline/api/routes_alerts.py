"""Where alerts go, by which rules, and how they went: endpoints, rules, deliveries."""

from datetime import time, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, Field

from pipeline.accounts.roles import Principal
from pipeline.alerts.rules import Group
from pipeline.api.routes_accounts import Body, Said
from pipeline.api.serving import Served, allowed
from pipeline.tenants import deliveries, endpoints, rules
from pipeline.tenants.deliveries import DeliveryFound, DeliveryPage, State
from pipeline.tenants.endpoints import Address, Endpoint, Kind, NewEndpoint
from pipeline.tenants.rules import RuleSettings, StoredRule
from schemas.models import Severity

router = APIRouter(prefix="/v1/alerts", tags=["alerts"])
Reads = Annotated[Principal, Depends(allowed("settings:read"))]
Writes = Annotated[Principal, Depends(allowed("settings:write"))]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Kinds = Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=rules.MOST_KINDS)]
EventTypes = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=20)]


class CreateEndpoint(Body):
    """Where to: an e-mail address or an https URL; for PagerDuty its routing key, and a URL only where it is not its own.

    `event_types`: of usage and billing; anomalies come by rules.
    """

    name: Name
    kind: Kind
    target: Annotated[str, Field(max_length=2_000)] = ""
    routing_key: Annotated[str, Field(max_length=64)] = ""
    event_types: EventTypes = Field(default_factory=list)


class EndpointPatch(Body):
    """What changes; what is left out stays. `enabled`: true forgets what failed."""

    name: Name | None = None
    event_types: EventTypes | None = None
    enabled: bool | None = None


class RotateSecret(Body):
    """How long requests are signed with the secret before, too."""

    overlap_seconds: Annotated[int, Field(ge=0, le=30 * 86_400)] = 86_400


class SetRule(Body):
    """A whole rule. `stream_pattern`: `*`, `?`, `[abc]`; `kinds` empty: all; `quiet_below`: severities from it on are told in quiet hours too."""

    name: Name
    endpoint_ids: Annotated[list[UUID], Field(min_length=1, max_length=50)]
    enabled: bool = True
    min_severity: Severity = "low"
    stream_pattern: Annotated[str, Field(min_length=1, max_length=128)] = "*"
    kinds: Kinds = Field(default_factory=list)
    updates: bool = False
    recovery: bool = False
    group_by: Group = "stream"
    cooldown_seconds: Annotated[int, Field(ge=0, le=rules.LONGEST_COOLDOWN)] = 0
    quiet_from: time | None = None
    quiet_until: time | None = None
    quiet_zone: Annotated[str | None, Field(max_length=64)] = None
    quiet_below: Severity | None = None
    muted_until: AwareDatetime | None = None


def _settings(body: SetRule) -> RuleSettings:
    given = {name: getattr(body, name) for name in SetRule.model_fields}
    return RuleSettings(**given | {"endpoint_ids": tuple(body.endpoint_ids), "kinds": tuple(body.kinds)})


# Endpoints ----------------------------------------------------------------------------------------------------------------


@router.get("/endpoints")
def get_endpoints(served: Served, principal: Reads) -> list[Endpoint]:
    """Endpoints, the oldest first; never a secret."""
    with served.tenants() as connection:
        return endpoints.list_endpoints(connection, principal.organization_id)


@router.post("/endpoints", status_code=201)
def post_endpoint(served: Served, principal: Writes, body: CreateEndpoint) -> NewEndpoint:
    """A new endpoint; the secret that its webhooks are signed with is shown this once."""
    with served.tenants() as connection:
        return endpoints.create_endpoint(
            connection,
            principal.organization_id,
            body.name,
            Address(body.kind, body.target, body.routing_key),
            body.event_types,
            sealing=served.sealing,
            by=principal.actor,
            at=served.now(),
        )


@router.get("/endpoints/{endpoint_id}")
def get_endpoint(served: Served, principal: Reads, endpoint_id: UUID) -> Endpoint:
    """One endpoint."""
    with served.tenants() as connection:
        return endpoints.get_endpoint(connection, principal.organization_id, endpoint_id)


@router.patch("/endpoints/{endpoint_id}")
def patch_endpoint(served: Served, principal: Writes, endpoint_id: UUID, body: EndpointPatch) -> Endpoint:
    """Rename it, choose its events, disable or enable it."""
    with served.tenants() as connection:
        return endpoints.change_endpoint(
            connection,
            principal.organization_id,
            endpoint_id,
            name=body.name,
            event_types=body.event_types,
            enabled=body.enabled,
            by=principal.actor,
            at=served.now(),
        )


@router.delete("/endpoints/{endpoint_id}", status_code=204)
def delete_endpoint(served: Served, principal: Writes, endpoint_id: UUID) -> None:
    """Remove it: what waits for it is not sent."""
    with served.tenants() as connection:
        endpoints.remove_endpoint(
            connection, principal.organization_id, endpoint_id, by=principal.actor, at=served.now()
        )


@router.post("/endpoints/{endpoint_id}/rotate", status_code=201)
def post_rotation(served: Served, principal: Writes, endpoint_id: UUID, body: RotateSecret) -> NewEndpoint:
    """A new secret of a webhook, shown this once; for the overlap requests carry a signature of each."""
    with served.tenants() as connection:
        return endpoints.rotate_secret(
            connection,
            principal.organization_id,
            endpoint_id,
            overlap=timedelta(seconds=body.overlap_seconds),
            sealing=served.sealing,
            by=principal.actor,
            at=served.now(),
        )


@router.post("/endpoints/{endpoint_id}/test", status_code=202)
def post_test(served: Served, principal: Writes, endpoint_id: UUID) -> Said:
    """Send a test as an alert is sent; the log of deliveries says how it went."""
    with served.tenants() as connection:
        endpoints.try_endpoint(connection, principal.organization_id, endpoint_id, at=served.now())
    return Said("A test is on its way: the log of deliveries says how it went.")


# Rules --------------------------------------------------------------------------------------------------------------------


@router.get("/rules")
def get_rules(served: Served, principal: Reads) -> list[StoredRule]:
    """Rules, the oldest first."""
    with served.tenants() as connection:
        return rules.list_rules(connection, principal.organization_id)


@router.post("/rules", status_code=201)
def post_rule(served: Served, principal: Writes, body: SetRule) -> StoredRule:
    """A new rule."""
    with served.tenants() as connection:
        return rules.create_rule(
            connection, principal.organization_id, _settings(body), by=principal.actor, at=served.now()
        )


@router.get("/rules/{rule_id}")
def get_rule(served: Served, principal: Reads, rule_id: UUID) -> StoredRule:
    """One rule."""
    with served.tenants() as connection:
        return rules.get_rule(connection, principal.organization_id, rule_id)


@router.put("/rules/{rule_id}")
def put_rule(served: Served, principal: Writes, rule_id: UUID, body: SetRule) -> StoredRule:
    """Set all of a rule; it holds from then on, for what was not told before."""
    with served.tenants() as connection:
        return rules.set_rule(
            connection, principal.organization_id, rule_id, _settings(body), by=principal.actor, at=served.now()
        )


@router.delete("/rules/{rule_id}", status_code=204)
def delete_rule(served: Served, principal: Writes, rule_id: UUID) -> None:
    """Remove a rule."""
    with served.tenants() as connection:
        rules.remove_rule(connection, principal.organization_id, rule_id, by=principal.actor, at=served.now())


# Deliveries ---------------------------------------------------------------------------------------------------------------


@router.get("/deliveries")
def get_deliveries(
    served: Served,
    principal: Reads,
    endpoint_id: UUID | None = None,
    state: State | None = None,
    cursor: Annotated[int | None, Query(ge=1, lt=1 << 63)] = None,
    limit: Annotated[int, Query(ge=1, le=deliveries.MOST_A_PAGE)] = 50,
) -> DeliveryPage:
    """Deliveries, the newest first. `next_cursor` begins the next page."""
    with served.tenants() as connection:
        return deliveries.list_deliveries(
            connection, principal.organization_id, endpoint_id=endpoint_id, state=state, cursor=cursor, limit=limit
        )


@router.get("/deliveries/{delivery_id}")
def get_delivery(served: Served, principal: Reads, delivery_id: UUID) -> DeliveryFound:
    """One delivery with every attempt."""
    with served.tenants() as connection:
        return deliveries.get_delivery(connection, principal.organization_id, delivery_id)


@router.post("/deliveries/{delivery_id}/redeliver", status_code=202)
def post_redelivery(served: Served, principal: Writes, delivery_id: UUID) -> DeliveryFound:
    """Send it again, with the same message id."""
    with served.tenants() as connection:
        return deliveries.redeliver(
            connection, principal.organization_id, delivery_id, by=principal.actor, at=served.now()
        )
