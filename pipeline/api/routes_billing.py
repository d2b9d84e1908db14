"""The plan: checkout, customer portal, another plan. The pages are Stripe's; who asks needs billing:write, so no key may."""

from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Depends, Header
from pydantic import Field

from pipeline.accounts.roles import Principal
from pipeline.api.routes_accounts import Body
from pipeline.api.serving import Served, allowed
from pipeline.tenants import plan as plans
from pipeline.tenants.plan import Changed, Continued, Subscribed

router = APIRouter(tags=["billing"])
Writing = Annotated[Principal, Depends(allowed("billing:write"))]
PlanName = Annotated[str, Field(min_length=1, max_length=40)]


class CheckOut(Body):
    """Which plan; a promotion code may also be typed at Stripe."""

    plan: PlanName
    promotion_code: Annotated[str, Field(max_length=100)] = ""


class ChangePlan(Body):
    """Which plan; `developer` cancels at the period's end."""

    plan: PlanName


@router.get("/v1/billing/subscription")
def get_subscription(served: Served, principal: Annotated[Principal, Depends(allowed("billing:read"))]) -> Subscribed:
    """The subscription, and what is planned at its period's end."""
    with served.tenants() as connection:
        return plans.subscribed(connection, principal.organization_id)


@router.post("/v1/billing/checkout", status_code=201)
def post_checkout(
    served: Served,
    principal: Writing,
    body: CheckOut,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> Continued:
    """A page of Stripe's on which a paid plan is ordered. The same Idempotency-Key gives the same page."""
    with served.tenants() as connection:
        return plans.check_out(
            connection,
            served.stripe,
            principal.organization_id,
            body.plan,
            console_url=served.console_url,
            key=idempotency_key or str(uuid4()),
            promotion_code=body.promotion_code,
            by=principal.actor,
            now=served.now(),
        )


@router.post("/v1/billing/portal", status_code=201)
def post_portal(served: Served, principal: Writing) -> Continued:
    """A page of Stripe's for cards, invoices and cancellation. 409 before a first checkout."""
    with served.tenants() as connection:
        return plans.portal(connection, served.stripe, principal.organization_id, console_url=served.console_url)


@router.put("/v1/billing/plan")
def put_plan(served: Served, principal: Writing, body: ChangePlan) -> Changed:
    """Another plan for the subscription there is: up at once, down at the period's end."""
    with served.tenants() as connection:
        return plans.change(
            connection, served.stripe, principal.organization_id, body.plan, by=principal.actor, now=served.now()
        )
