"""Settings of the organization: sensitivity with its price, keys, members, the audit trail; and getting started."""

from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, cast, get_args
from uuid import UUID

import psycopg
from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from billing.terms import Mode, Terms
from dashboards.console import parts, prediction, security, session
from dashboards.console.pages import fragment, page
from dashboards.console.parts import Parts
from dashboards.console.prediction import Predicted
from dashboards.console.problems import Problem
from dashboards.console.security import text
from dashboards.console.session import Known, Who
from pipeline.accounts.roles import KEY_SCOPES, RANK, Role, Scope
from pipeline.tenants import audit, course, keys, members, settings, usage
from pipeline.tenants.course import Opened
from schemas.errors import UnknownOrganization

routes = APIRouter()
Form = Annotated[FormData, Depends(security.form)]
ROTATION = timedelta(days=1)
FIRST_KEY: tuple[Scope, ...] = ("events:write",)
CHECKED = [Depends(security.form)]
"""For a form of which nothing but its token is read."""
ROLES: tuple[Role, ...] = get_args(Role)
MODES: tuple[Mode, ...] = get_args(Mode)


def may(scope: Scope) -> object:
    """A dependency: who is logged in with that scope."""
    return Depends(session.allowed(scope))


@routes.get("/start")
def start(request: Request, who: Known) -> HTMLResponse:
    """From nothing to a first event."""
    return page(request, "start.html", key=None, api=_api(parts.of(request)), may_make=who.may("keys:write"))


@routes.post("/start", dependencies=CHECKED)
def started(request: Request, who: Annotated[Who, may("keys:write")]) -> HTMLResponse:
    """A first key that may send events, shown this once, with a line that uses it."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        made = keys.create_key(
            connection, who.organization_id, "First key", FIRST_KEY, by=who.principal.actor, at=ours.clock()
        )
    return page(request, "start.html", key=made, api=_api(ours), may_make=True)


def _api(ours: Parts) -> str:
    return ours.settings.api_url.rstrip("/")


@routes.get("/settings")
def general(request: Request, who: Annotated[Who, may("settings:read")]) -> HTMLResponse:
    """Sensitivity, cap, name and address, as they are."""
    return _general(request, who)


def _general(request: Request, who: Who, *, status: int = 200, wrong: str = "") -> HTMLResponse:
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        known = settings.get_settings(connection, who.organization_id)
        opened, terms = _ground(ours, connection, who)
    percent = percent_of(known.sensitivity, ours)
    return page(
        request,
        "settings.html",
        status=status,
        wrong=wrong,
        s=known,
        percent=percent,
        default=known.sensitivity is None,
        installation=ours.settings.sensitivity,
        opened=opened,
        now=_predicted(opened, terms, percent),
        table=[_predicted(opened, terms, p) for p in prediction.SETTINGS],
        terms=terms,
        modes=MODES,
        may_write=who.may("settings:write"),
        may_bill=who.may("billing:write"),
    )


def percent_of(sensitivity: Decimal | None, ours: Parts) -> int:
    """The slider's place: whole percents."""
    return round((Decimal(str(ours.settings.sensitivity)) if sensitivity is None else sensitivity) * 100)


def _ground(ours: Parts, connection: psycopg.Connection, who: Who) -> tuple[Opened, Terms | None]:
    now = ours.clock()
    opened = course.opened(connection, who.organization_id, now.date())
    try:
        return opened, usage.preview(connection, who.organization_id, now).terms
    except UnknownOrganization:
        return opened, None


def _predicted(opened: Opened, terms: Terms | None, percent: int) -> Predicted | None:
    return None if terms is None else prediction.predict(opened.histogram, opened.days, terms, percent)


@routes.get("/settings/prediction")
def predicted(request: Request, who: Annotated[Who, may("settings:read")], percent: int = 50) -> HTMLResponse:
    """What a place of the slider means, before it is saved."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        opened, terms = _ground(ours, connection, who)
    now = _predicted(opened, terms, max(0, min(percent, 100)))
    return HTMLResponse(fragment("_prediction.html", now=now, opened=opened, terms=terms))


@routes.post("/settings/sensitivity")
def set_sensitivity(request: Request, who: Annotated[Who, may("settings:write")], fields: Form) -> Response:
    """Save the slider."""
    ours = parts.of(request)
    try:
        percent, version = Decimal(text(fields, "percent", 8)), int(text(fields, "version", 12))
    except (InvalidOperation, ValueError) as error:
        raise Problem(400, "That sensitivity does not fit.", "Use the slider of the page.") from error
    with ours.pools.tenants.connection() as connection:
        settings.set_sensitivity(
            connection, who.organization_id, percent / 100, by=who.principal.actor, if_version=version, at=ours.clock()
        )
    return RedirectResponse("/settings?saved=sensitivity", 303)


@routes.post("/settings/cap")
def set_cap(request: Request, who: Annotated[Who, may("billing:write")], fields: Form) -> Response:
    """Save what happens over the cap."""
    ours, mode, said = parts.of(request), text(fields, "mode", 8), text(fields, "cap_percent", 8)
    if mode not in MODES or not (said.isdecimal() or not said):
        raise Problem(400, "That cap does not fit.", "Choose a mode, and a percentage from 100, or none.")
    with ours.pools.tenants.connection() as connection:
        settings.set_cap(
            connection,
            who.organization_id,
            mode,
            int(said) if said else None,
            by=who.principal.actor,
            at=ours.clock(),
        )
    return RedirectResponse("/settings?saved=cap", 303)


@routes.post("/settings/general")
def set_general(request: Request, who: Annotated[Who, may("settings:write")], fields: Form) -> Response:
    """Save name and address."""
    ours, by = parts.of(request), who.principal.actor
    with ours.pools.tenants.connection() as connection:
        if name := text(fields, "name", 200):
            settings.set_name(connection, who.organization_id, name, by=by, at=ours.clock())
        if address := text(fields, "billing_email"):
            settings.set_billing_email(connection, who.organization_id, address, by=by, at=ours.clock())
    return RedirectResponse("/settings?saved=general", 303)


@routes.get("/settings/keys")
def listed_keys(request: Request, who: Annotated[Who, may("keys:read")]) -> HTMLResponse:
    """All keys, never their secrets."""
    return _keys(request, who, None)


def _keys(request: Request, who: Who, made: keys.NewKey | None) -> HTMLResponse:
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        known = keys.list_keys(connection, who.organization_id)
    return page(
        request,
        "keys.html",
        keys=known,
        made=made,
        scopes=KEY_SCOPES,
        may_write=who.may("keys:write"),
        now=ours.clock(),
    )


@routes.post("/settings/keys")
def make_key(request: Request, who: Annotated[Who, may("keys:write")], fields: Form) -> HTMLResponse:
    """A new key, shown this once."""
    ours = parts.of(request)
    chosen = [str(s) for s in fields.getlist("scope")]
    if not chosen or not set(chosen) <= set(KEY_SCOPES):
        raise Problem(400, "A key needs at least one permission.", "Go back and choose what it may do.")
    with ours.pools.tenants.connection() as connection:
        made = keys.create_key(
            connection,
            who.organization_id,
            text(fields, "name", 100),
            cast("list[Scope]", chosen),
            by=who.principal.actor,
            at=ours.clock(),
        )
    return _keys(request, who, made)


@routes.post("/settings/keys/{key_id}/{what}", dependencies=CHECKED)
def change_key(request: Request, who: Annotated[Who, may("keys:write")], key_id: str, what: str) -> Response:
    """Rotate a key, with a day of overlap, or revoke it."""
    ours, by = parts.of(request), who.principal.actor
    with ours.pools.tenants.connection() as connection:
        if what == "rotate":
            made = keys.rotate_key(connection, who.organization_id, key_id, overlap=ROTATION, by=by, at=ours.clock())
        elif what == "revoke":
            keys.revoke_key(connection, who.organization_id, key_id, by=by, at=ours.clock())
            return RedirectResponse("/settings/keys", 303)
        else:
            raise Problem(404, "There is no such page.", "Use the buttons of the page.")
    return _keys(request, who, made)


@routes.get("/settings/members")
def listed_members(request: Request, who: Annotated[Who, may("members:read")]) -> HTMLResponse:
    """Members and invitations."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        known = members.list_members(connection, who.organization_id)
        invited = members.list_invitations(connection, who.organization_id, ours.clock())
    mine = [role for role in ROLES if RANK[role] <= RANK[who.role]]
    return page(
        request,
        "members.html",
        members=known,
        invitations=invited,
        roles=mine,
        rank=RANK,
        who=who,
        may_write=who.may("members:write"),
    )


@routes.post("/settings/members")
def invite(request: Request, who: Annotated[Who, may("members:write")], fields: Form) -> Response:
    """Mail an invitation."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        members.invite(connection, who.principal, text(fields, "email"), _role(fields), at=ours.clock())
    return RedirectResponse("/settings/members", 303)


@routes.post("/settings/members/{user_id}")
def change_member(request: Request, who: Known, fields: Form, user_id: UUID) -> Response:
    """Another role, or the end of a membership."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        if text(fields, "remove"):
            members.remove_member(connection, who.principal, user_id, at=ours.clock())
        else:
            members.set_role(connection, who.principal, user_id, _role(fields), at=ours.clock())
    return RedirectResponse("/settings/members", 303)


@routes.post("/settings/invitations/{invitation_id}", dependencies=CHECKED)
def withdraw(request: Request, who: Annotated[Who, may("members:write")], invitation_id: UUID) -> Response:
    """Withdraw an invitation."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        members.withdraw(connection, who.principal, invitation_id, at=ours.clock())
    return RedirectResponse("/settings/members", 303)


def _role(fields: FormData) -> Role:
    role = text(fields, "role", 16)
    if role not in ROLES:
        raise Problem(400, "That role does not fit.", "Choose one of the list.")
    return role


@routes.get("/settings/audit")
def trail(request: Request, who: Annotated[Who, may("audit:read")], before: int | None = None) -> HTMLResponse:
    """Who did what, the newest first."""
    ours = parts.of(request)
    with ours.pools.tenants.connection() as connection:
        actions = audit.list_actions(connection, who.organization_id, before_seq=before, limit=100)
        people = session.people(connection, who)
    return page(request, "audit.html", actions=actions, more=len(actions) == 100, people=people)
