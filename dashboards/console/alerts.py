"""Settings of alerts: endpoints, rules, and the log of deliveries."""

from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Annotated, Any, cast, get_args
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from dashboards.console import parts
from dashboards.console.organization import CHECKED, Form, may
from dashboards.console.pages import page
from dashboards.console.problems import Problem
from dashboards.console.security import text
from dashboards.console.session import Who
from pipeline.alerts.rules import SEVERITIES, Group
from pipeline.tenants import deliveries, endpoints, rules
from pipeline.tenants.deliveries import State
from pipeline.tenants.endpoints import Address, Kind, NewEndpoint
from pipeline.tenants.rules import RuleSettings
from schemas.models import Severity
from schemas.outbound import CHOSEN

routes = APIRouter()
Reader = Annotated[Who, may("settings:read")]
Writer = Annotated[Who, may("settings:write")]
HERE = "/settings/alerts"
ROTATION = timedelta(days=1)
MUTES = (1, 8, 24, 168)
COOLDOWNS = ((0, "none"), (300, "5 minutes"), (3_600, "1 hour"), (86_400, "1 day"))
KINDS: tuple[Kind, ...] = get_args(Kind)
STATES: tuple[State, ...] = get_args(State)


@routes.get(HERE)
def listed(request: Request, who: Reader) -> HTMLResponse:
    """Endpoints and rules as they are."""
    return _page(request, who)


def _page(request: Request, who: Who, made: NewEndpoint | None = None) -> HTMLResponse:
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        known = endpoints.list_endpoints(connection, who.organization_id)
        stored = rules.list_rules(connection, who.organization_id)
    return page(
        request,
        "alerts.html",
        endpoints=known,
        names={one.id: one.name for one in known},
        rules=stored,
        made=made,
        keeps_secrets=bool(endpoints.sealing(ours.settings).keys),
        event_types=CHOSEN,
        fresh=RuleSettings("", ()),
        severities=SEVERITIES,
        cooldowns=COOLDOWNS,
        mutes=MUTES,
        may_write=who.may("settings:write"),
        now=ours.clock(),
    )


# Endpoints ----------------------------------------------------------------------------------------------------------------


@routes.post(f"{HERE}/endpoints")
def make_endpoint(request: Request, who: Writer, fields: Form) -> Response:
    """A new endpoint; the secret of a webhook is shown this once."""
    ours, kind = parts.of(request), text(fields, "kind", 16)
    if kind not in KINDS:
        raise Problem(400, "That kind of endpoint does not fit.", "Choose one of the list.")
    with ours.pools.tenants.connection() as connection:
        made = endpoints.create_endpoint(
            connection,
            who.organization_id,
            text(fields, "name", 100),
            Address(kind, text(fields, "target", 2_000), text(fields, "routing_key", 64)),
            [str(one) for one in fields.getlist("event_type")],
            sealing=endpoints.sealing(ours.settings),
            by=who.principal.actor,
            at=ours.clock(),
        )
    return _page(request, who, made) if made.secret else RedirectResponse(HERE, 303)


@routes.post(HERE + "/endpoints/{endpoint_id}/{what}", dependencies=CHECKED)
def change_endpoint(request: Request, who: Writer, endpoint_id: UUID, what: str) -> Response:
    """Test, rotate (with a day of overlap), enable, disable or remove an endpoint."""
    ours, by = parts.of(request), who.principal.actor
    one, at = (who.organization_id, endpoint_id), ours.clock()
    with ours.pools.tenants.connection() as connection:
        if what == "rotate":
            sealing = endpoints.sealing(ours.settings)
            made = endpoints.rotate_secret(connection, *one, overlap=ROTATION, sealing=sealing, by=by, at=at)
            return _page(request, who, made)
        if what == "test":
            endpoints.try_endpoint(connection, *one, at=at)
            return RedirectResponse(f"{HERE}/deliveries?endpoint={endpoint_id}", 303)
        if what in {"enable", "disable"}:
            endpoints.change_endpoint(connection, *one, enabled=what == "enable", by=by, at=at)
        elif what == "remove":
            endpoints.remove_endpoint(connection, *one, by=by, at=at)
        else:
            raise Problem(404, "There is no such page.", "Use the buttons of the page.")
    return RedirectResponse(HERE, 303)


# Rules --------------------------------------------------------------------------------------------------------------------


@routes.post(f"{HERE}/rules")
def make_rule(request: Request, who: Writer, fields: Form) -> Response:
    """A new rule."""
    ours, wanted = parts.of(request), _wanted(fields)
    with ours.pools.tenants.connection() as connection:
        rules.create_rule(connection, who.organization_id, wanted, by=who.principal.actor, at=ours.clock())
    return RedirectResponse(HERE, 303)


@routes.get(HERE + "/rules/{rule_id}")
def one_rule(request: Request, who: Writer, rule_id: UUID) -> HTMLResponse:
    """A rule, to be changed."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        found = rules.get_rule(connection, who.organization_id, rule_id)
        known = endpoints.list_endpoints(connection, who.organization_id)
    return page(
        request,
        "alert_rule.html",
        rule=found,
        fresh=found.settings,
        endpoints=known,
        severities=SEVERITIES,
        cooldowns=COOLDOWNS,
    )


@routes.post(HERE + "/rules/{rule_id}/{what}")
def change_rule(request: Request, who: Writer, fields: Form, rule_id: UUID, what: str) -> Response:
    """Save, mute, unmute, enable, disable or remove a rule."""
    ours, by = parts.of(request), who.principal.actor
    one, at = (who.organization_id, rule_id), ours.clock()
    with ours.pools.tenants.connection() as connection:
        before = rules.get_rule(connection, *one).settings
        changed = {
            "unmute": {"muted_until": None},
            "enable": {"enabled": True},
            "disable": {"enabled": False},
        }
        if what == "remove":
            rules.remove_rule(connection, *one, by=by, at=at)
            return RedirectResponse(HERE, 303)
        if what == "save":
            kept: dict[str, Any] = {"enabled": before.enabled, "muted_until": before.muted_until}
            wanted = replace(_wanted(fields), **kept)
        elif what == "mute":
            wanted = replace(before, muted_until=_muted_until(fields, at))
        elif what in changed:
            wanted = replace(before, **cast("Any", changed[what]))
        else:
            raise Problem(404, "There is no such page.", "Use the buttons of the page.")
        rules.set_rule(connection, *one, wanted, by=by, at=at)
    return RedirectResponse(HERE, 303)


def _muted_until(fields: FormData, now: datetime) -> datetime:
    hours = text(fields, "hours", 8)
    if hours not in map(str, MUTES):
        raise Problem(400, "That time does not fit.", "Choose one of the list.")
    return now + timedelta(hours=int(hours))


def _wanted(fields: FormData) -> RuleSettings:
    """The rule of a form. 400 for what the form's own fields would not send."""
    try:
        asked = tuple(UUID(str(one)) for one in fields.getlist("endpoint"))
        start, end = text(fields, "quiet_from", 8), text(fields, "quiet_until", 8)
        quiet = bool(start or end)
        return RuleSettings(
            name=text(fields, "name", 100),
            endpoint_ids=asked,
            min_severity=cast("Severity", text(fields, "min_severity", 16)),
            stream_pattern=text(fields, "stream_pattern", 128) or "*",
            kinds=tuple(kind.strip() for kind in text(fields, "kinds", 1_000).split(",") if kind.strip()),
            updates=bool(text(fields, "updates", 8)),
            recovery=bool(text(fields, "recovery", 8)),
            group_by=cast("Group", text(fields, "group_by", 16)),
            cooldown_seconds=int(text(fields, "cooldown_seconds", 8)),
            quiet_from=time.fromisoformat(start) if start else None,
            quiet_until=time.fromisoformat(end) if end else None,
            quiet_zone=(text(fields, "quiet_zone", 64) or "UTC") if quiet else None,
            quiet_below=cast("Severity | None", text(fields, "quiet_below", 16) or None),
        )
    except ValueError as error:
        raise Problem(400, "That rule does not fit.", "Use the fields of the page.") from error


# Deliveries ---------------------------------------------------------------------------------------------------------------


@routes.get(f"{HERE}/deliveries")
def log(
    request: Request, who: Reader, endpoint: UUID | None = None, state: str = "", cursor: int | None = None
) -> HTMLResponse:
    """What was sent to endpoints, and what waits, the newest first."""
    if state and state not in STATES:
        raise Problem(400, "That filter does not fit.", "Use the links of the page.")
    ours = parts.of(request)
    chosen = state or None
    with ours.pools.tenants.connection() as connection:
        found = deliveries.list_deliveries(
            connection, who.organization_id, endpoint_id=endpoint, state=chosen, cursor=cursor
        )
    return page(
        request, "deliveries.html", found=found, endpoint=endpoint, state=state, states=STATES, now=ours.clock()
    )


@routes.get(HERE + "/deliveries/{delivery_id}")
def one_delivery(request: Request, who: Reader, delivery_id: UUID) -> HTMLResponse:
    """A delivery with every attempt."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        found = deliveries.get_delivery(connection, who.organization_id, delivery_id)
    return page(
        request, "delivery.html", d=found.delivery, attempts=found.attempts, may_write=who.may("settings:write")
    )


@routes.post(HERE + "/deliveries/{delivery_id}", dependencies=CHECKED)
def send_again(request: Request, who: Writer, delivery_id: UUID) -> Response:
    """Send it again."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        deliveries.redeliver(connection, who.organization_id, delivery_id, by=who.principal.actor, at=ours.clock())
    return RedirectResponse(f"{HERE}/deliveries/{delivery_id}", 303)
