"""Settings, keys, members, usage, billing, audit: the routes of `pipeline.tenants`."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import Field

from billing.preview import Line, Units
from billing.terms import Mode
from pipeline.accounts.errors import PreconditionFailed
from pipeline.accounts.roles import Principal, Role, Scope
from pipeline.api.routes_accounts import Body
from pipeline.api.routes_streams import IfMatch, Sensitivity, version_of
from pipeline.api.serving import Acting, Served, allowed
from pipeline.tenants import audit, keys, members, settings, usage
from pipeline.tenants.audit import Action
from pipeline.tenants.keys import Key, NewKey
from pipeline.tenants.members import Invitation, Member
from pipeline.tenants.settings import OrganizationSettings
from pipeline.tenants.usage import Alert, Invoice, Usage

router = APIRouter()
KeyId = Annotated[str, Path(max_length=64)]


# The organization ---------------------------------------------------------------------------------------------------------


class OrganizationPatch(Body):
    """What changes; what is left out stays. sensitivity null: the installation's."""

    name: Annotated[str | None, Field(min_length=1, max_length=100)] = None
    sensitivity: Sensitivity | None = None


class Cap(Body):
    """What happens to units over the cap, and its height in percent of the included ones; null: the plan's."""

    mode: Mode
    cap_percent: Annotated[int | None, Field(ge=100, le=100_000)] = None


class BillingEmail(Body):
    """Where e-mails about usage and money go."""

    email: Annotated[str, Field(max_length=254)]


@router.get("/v1/organization", tags=["organization"])
def get_organization(
    served: Served, principal: Annotated[Principal, Depends(allowed("settings:read"))], response: Response
) -> OrganizationSettings:
    """The organization and its settings. ETag names its sensitivity."""
    with served.tenants() as connection:
        found = settings.get_settings(connection, principal.organization_id)
    response.headers["ETag"] = f'"v{found.version}"'
    return found


@router.patch("/v1/organization", tags=["organization"])
def patch_organization(
    served: Served,
    principal: Annotated[Principal, Depends(allowed("settings:write"))],
    response: Response,
    body: OrganizationPatch,
    if_match: IfMatch = None,
) -> OrganizationSettings:
    """Change the name or the sensitivity."""
    organization_id, by, at = principal.organization_id, principal.actor, served.now()
    version = version_of(if_match)
    with served.tenants() as connection:
        found = settings.get_settings(connection, organization_id)
        if version is not None and version != found.version:
            raise PreconditionFailed(f'If-Match does not name the present version, which is "v{found.version}"')
        if "sensitivity" in body.model_fields_set:
            found = settings.set_sensitivity(
                connection, organization_id, body.sensitivity, by=by, if_version=version, at=at
            )
        if body.name is not None:
            found = settings.set_name(connection, organization_id, body.name, by=by, at=at)
    response.headers["ETag"] = f'"v{found.version}"'
    return found


# Keys ---------------------------------------------------------------------------------------------------------------------


class CreateKey(Body):
    """A key's name and what it may do."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=20)]


class Rotate(Body):
    """How long the old key goes on."""

    overlap_seconds: Annotated[int, Field(ge=0, le=30 * 86_400)] = 86_400


@router.get("/v1/keys", tags=["keys"])
def get_keys(served: Served, principal: Annotated[Principal, Depends(allowed("keys:read"))]) -> list[Key]:
    """API keys with their last use; never a secret."""
    with served.tenants() as connection:
        return keys.list_keys(connection, principal.organization_id)


@router.post("/v1/keys", status_code=201, tags=["keys"])
def post_key(
    served: Served, principal: Annotated[Principal, Depends(allowed("keys:write"))], body: CreateKey
) -> NewKey:
    """A new key; its text is shown this once."""
    with served.tenants() as connection:
        return keys.create_key(
            connection, principal.organization_id, body.name, body.scopes, by=principal.actor, at=served.now()
        )


@router.post("/v1/keys/{key_id}/rotate", status_code=201, tags=["keys"])
def post_rotate(
    served: Served, principal: Annotated[Principal, Depends(allowed("keys:write"))], key_id: KeyId, body: Rotate
) -> NewKey:
    """A new key in another's place, which goes on for the overlap."""
    overlap = timedelta(seconds=body.overlap_seconds)
    with served.tenants() as connection:
        made = keys.rotate_key(
            connection, principal.organization_id, key_id, overlap=overlap, by=principal.actor, at=served.now()
        )
    served.forget()
    return made


@router.delete("/v1/keys/{key_id}", tags=["keys"])
def delete_key(served: Served, principal: Annotated[Principal, Depends(allowed("keys:write"))], key_id: KeyId) -> Key:
    """Revoke a key: refused everywhere within 2 seconds."""
    with served.tenants() as connection:
        gone = keys.revoke_key(connection, principal.organization_id, key_id, by=principal.actor, at=served.now())
    served.forget()
    return gone


# Members ------------------------------------------------------------------------------------------------------------------


class SetRole(Body):
    """A role."""

    role: Role


class Invite(Body):
    """Who is invited, as what."""

    email: Annotated[str, Field(max_length=254)]
    role: Role


@router.get("/v1/members", tags=["members"])
def get_members(served: Served, principal: Annotated[Principal, Depends(allowed("members:read"))]) -> list[Member]:
    """Members, owners first."""
    with served.tenants() as connection:
        return members.list_members(connection, principal.organization_id)


@router.put("/v1/members/{user_id}", tags=["members"])
def put_member(
    served: Served, principal: Annotated[Principal, Depends(allowed("members:write"))], user_id: UUID, body: SetRole
) -> Member:
    """Give a member another role, at most one's own."""
    with served.tenants() as connection:
        found = members.set_role(connection, principal, user_id, body.role, at=served.now())
    served.forget()
    return found


@router.delete("/v1/members/{user_id}", status_code=204, tags=["members"])
def delete_member(served: Served, principal: Acting, user_id: UUID) -> None:
    """End a membership; anybody may end its own."""
    with served.tenants() as connection:
        members.remove_member(connection, principal, user_id, at=served.now())
    served.forget()


@router.get("/v1/invitations", tags=["members"])
def get_invitations(
    served: Served, principal: Annotated[Principal, Depends(allowed("members:read"))]
) -> list[Invitation]:
    """Invitations that are open."""
    with served.tenants() as connection:
        return members.list_invitations(connection, principal.organization_id, served.now())


@router.post("/v1/invitations", status_code=201, tags=["members"])
def post_invitation(
    served: Served, principal: Annotated[Principal, Depends(allowed("members:write"))], body: Invite
) -> Invitation:
    """Invite somebody by e-mail."""
    with served.tenants() as connection:
        return members.invite(connection, principal, body.email, body.role, at=served.now())


@router.delete("/v1/invitations/{invitation_id}", status_code=204, tags=["members"])
def delete_invitation(
    served: Served, principal: Annotated[Principal, Depends(allowed("members:write"))], invitation_id: UUID
) -> None:
    """Withdraw an invitation."""
    with served.tenants() as connection:
        members.withdraw(connection, principal, invitation_id, at=served.now())


# Usage and billing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InvoicePreview:
    """The present period's invoice as it stands; money in cents, decimals as text. `worst_cents` null: the cap is off."""

    plan: str
    period_start: datetime
    period_end: datetime
    units: Units
    net_units: int
    lines: tuple[Line, ...]
    total_cents: int
    effective_cents: Decimal | None
    marginal_cents: Decimal | None
    worst_cents: int | None


@router.get("/v1/usage", tags=["usage"])
def get_usage(served: Served, principal: Annotated[Principal, Depends(allowed("usage:read"))]) -> Usage:
    """The present period: what is used, its terms and limits, its days."""
    with served.tenants() as connection:
        return usage.usage(connection, principal.organization_id, served.now())


@router.get("/v1/usage/alerts", tags=["usage"])
def get_alerts(served: Served, principal: Annotated[Principal, Depends(allowed("usage:read"))]) -> list[Alert]:
    """Thresholds that were crossed in the present period."""
    with served.tenants() as connection:
        return usage.alerts(connection, principal.organization_id, served.now())


@router.get("/v1/billing/preview", tags=["billing"])
def get_preview(served: Served, principal: Annotated[Principal, Depends(allowed("billing:read"))]) -> InvoicePreview:
    """The present period's invoice as it stands."""
    with served.tenants() as connection:
        said = usage.preview(connection, principal.organization_id, served.now())
    return InvoicePreview(
        said.terms.plan,
        said.period_start,
        said.period_end,
        said.units,
        said.units.net,
        said.lines,
        said.total_cents,
        said.effective_cents,
        said.marginal_cents,
        said.worst_cents,
    )


@router.get("/v1/billing/invoices", tags=["billing"])
def get_invoices(served: Served, principal: Annotated[Principal, Depends(allowed("billing:read"))]) -> list[Invoice]:
    """Invoices, the newest first."""
    with served.tenants() as connection:
        return usage.invoices(connection, principal.organization_id)


@router.put("/v1/billing/cap", tags=["billing"])
def put_cap(
    served: Served, principal: Annotated[Principal, Depends(allowed("billing:write"))], body: Cap
) -> OrganizationSettings:
    """Choose what happens over the cap, for units that arrive from now on."""
    with served.tenants() as connection:
        return settings.set_cap(
            connection, principal.organization_id, body.mode, body.cap_percent, by=principal.actor, at=served.now()
        )


@router.put("/v1/billing/email", tags=["billing"])
def put_email(
    served: Served, principal: Annotated[Principal, Depends(allowed("billing:write"))], body: BillingEmail
) -> OrganizationSettings:
    """Where e-mails about usage and money go."""
    with served.tenants() as connection:
        return settings.set_billing_email(
            connection, principal.organization_id, body.email, by=principal.actor, at=served.now()
        )


@router.get("/v1/audit", tags=["audit"])
def get_audit(
    served: Served,
    principal: Annotated[Principal, Depends(allowed("audit:read"))],
    before: Annotated[int | None, Query(ge=1, lt=1 << 63, description="the last page's smallest seq")] = None,
    limit: Annotated[int, Query(ge=1, le=audit.MOST_A_PAGE)] = 100,
) -> list[Action]:
    """Who did what, the newest first."""
    with served.tenants() as connection:
        return audit.list_actions(connection, principal.organization_id, before_seq=before, limit=limit)
