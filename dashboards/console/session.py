"""Who is logged in: an access token and a refresh token in two cookies, renewed on any page; then what the role allows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import psycopg
from fastapi import Depends, Request

from dashboards.console import parts, security
from dashboards.console.problems import Problem
from pipeline.accounts import sessions
from pipeline.accounts.errors import BadToken
from pipeline.accounts.roles import Principal, Role, Scope
from pipeline.accounts.sessions import Tokens
from pipeline.tenants import members

ACCESS, REFRESH = "driftlock_access", "driftlock_refresh"


class LoginNeeded(Exception):
    """The page needs a login, and then comes again."""


@dataclass(frozen=True)
class Who:
    """Who looks at a page, and of which organization."""

    principal: Principal
    organization_name: str
    role: Role

    @property
    def organization_id(self) -> UUID:
        """The organization whose pages these are."""
        return self.principal.organization_id

    def may(self, scope: Scope) -> bool:
        """Whether the role allows it: a page shows no button that would be refused."""
        return scope in self.principal.scopes


def remember(request: Request, tokens: Tokens) -> None:
    """Keep a login's tokens in the browser."""
    security.set_cookie(request, ACCESS, tokens.access, until=tokens.access_expires_at)
    security.set_cookie(request, REFRESH, tokens.refresh, until=tokens.refresh_expires_at)


def forget(request: Request) -> None:
    """Remove them."""
    security.drop_cookie(request, ACCESS)
    security.drop_cookie(request, REFRESH)
    security.renew_visitor(request)


def look(request: Request) -> Who | None:
    """Who is logged in, if anybody; a refresh token is used where the access token is not good any more."""
    if getattr(request.state, "session", None) is None:
        if not (request.cookies.get(ACCESS) or request.cookies.get(REFRESH)):
            return None
        principal = _principal(request)
        if principal is None or principal.user_id is None:
            forget(request)
            return None
        with parts.of(request).pools.accounts.connection() as connection:
            known = sessions.memberships(connection, principal.user_id)
        mine = next((m for m in known if m.organization_id == principal.organization_id), None)
        if mine is None:
            return None
        request.state.session = Who(principal, mine.name, mine.role)
    found: Who = request.state.session
    return found


def _principal(request: Request) -> Principal | None:
    ours = parts.of(request)
    with ours.pools.accounts.connection() as connection:
        if access := request.cookies.get(ACCESS):
            try:
                return sessions.authenticate(connection, ours.key, access, ours.clock())
            except BadToken:
                pass
        if not (token := request.cookies.get(REFRESH)):
            return None
        try:
            tokens = sessions.refresh(connection, ours.key, token, ours.clock())
            principal = sessions.authenticate(connection, ours.key, tokens.access, ours.clock())
        except BadToken:
            return None
    remember(request, tokens)
    return principal


def people(connection: psycopg.Connection[Any], who: Who) -> dict[str, str]:
    """Names of members by what history and audit say of them: `user/<id>`."""
    return {f"user/{m.user_id}": m.name for m in members.list_members(connection, who.organization_id)}


def needed(request: Request) -> Who:
    """Who is logged in; else the login page."""
    who = look(request)
    if who is None:
        raise LoginNeeded
    return who


Known = Annotated[Who, Depends(needed)]


def allowed(scope: Scope) -> Callable[[Request], Who]:
    """Who is logged in with a role that allows `scope`; 403 for others."""

    def check(request: Request) -> Who:
        who = needed(request)
        if not who.may(scope):
            raise Problem(
                403, "Your role does not allow this.", f"You are {who.role} of {who.organization_name}: ask an owner."
            )
        return who

    return check
