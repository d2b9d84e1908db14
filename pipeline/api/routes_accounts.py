"""Sign-up, login, tokens, passwords, invitations: the routes of `pipeline.accounts`."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from pipeline.accounts import invitations, passwords, sessions, sign_up
from pipeline.accounts.invitations import Invited
from pipeline.accounts.roles import Role, Scope
from pipeline.accounts.sessions import Membership, Session, Tokens
from pipeline.accounts.sign_up import Verified
from pipeline.api.serving import Acting, Served, Serving, address, user_of

router = APIRouter(tags=["accounts"])
T = TypeVar("T")


class Body(BaseModel):
    """What bodies share: no unknown member, no text without an end."""

    model_config = ConfigDict(extra="forbid", str_max_length=4_096)


class SignUp(Body):
    """Who signs up."""

    email: Annotated[str, Field(max_length=254)]
    password: Annotated[str, Field(min_length=10, max_length=256)]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    organization: Annotated[str, Field(min_length=1, max_length=100)]


class Token(Body):
    """A token of an e-mail, or a refresh token."""

    token: Annotated[str, Field(max_length=200)]


class Login(Body):
    """E-mail and password."""

    email: Annotated[str, Field(max_length=254)]
    password: Annotated[str, Field(max_length=4_096)]


class Email(Body):
    """An e-mail address."""

    email: Annotated[str, Field(max_length=254)]


class NewPassword(Token):
    """A token and the password that it sets."""

    password: Annotated[str, Field(max_length=256)]


class ChangePassword(Body):
    """The password as it is and as it will be."""

    old: Annotated[str, Field(max_length=4_096)]
    new: Annotated[str, Field(max_length=256)]


class Accept(Token):
    """An invitation accepted: with a name by a new user, without by who has an account."""

    name: Annotated[str | None, Field(max_length=100)] = None
    password: Annotated[str, Field(max_length=4_096)]


class Switch(Body):
    """Another organization of the user."""

    organization_id: UUID


@dataclass(frozen=True)
class Said:
    """What happens next."""

    detail: str


@dataclass(frozen=True)
class Me:
    """Who asks."""

    organization_id: UUID
    actor: str
    role: Role | None
    scopes: list[Scope]
    organizations: list[Membership]


def _seconds(served: Serving, begun: float) -> float:
    return max(0.0, served.answer_s - (served.monotonic() - begun))


async def _in_equal_time(served: Serving, work: Callable[[], T]) -> T:
    """Do the work; answer, or fail, not before `answer_s`: how long it took says nothing of who was asked for."""
    begun = served.monotonic()
    try:
        return await asyncio.to_thread(work)
    finally:
        await asyncio.sleep(_seconds(served, begun))


@router.post("/v1/accounts/sign-up", status_code=202)
async def post_sign_up(body: SignUp, served: Served, peer: Annotated[str, Depends(address)]) -> Said:
    """Sign up: an e-mail with a token goes to the address. The answer is the same for an address that has an account."""

    def work() -> None:
        with served.accounts() as connection:
            sign_up.sign_up(
                connection,
                email=body.email,
                password=body.password,
                name=body.name,
                organization=body.organization,
                now=served.now(),
                address=peer,
            )

    await _in_equal_time(served, work)
    return Said("an e-mail says how to go on")


@router.post("/v1/accounts/verify", status_code=201)
def post_verify(body: Token, served: Served) -> Verified:
    """Finish a sign-up with the e-mail's token: the user and its organization."""
    with served.accounts() as connection:
        verified = sign_up.verify_email(connection, body.token, served.now())
    served.announce(verified.organization_id)
    return verified


@router.post("/v1/accounts/password-reset", status_code=202)
async def post_reset(body: Email, served: Served, peer: Annotated[str, Depends(address)]) -> Said:
    """Ask for a new password: an e-mail goes to the address, if it has an account. The answer is the same if not."""

    def work() -> None:
        with served.accounts() as connection:
            passwords.request_reset(connection, body.email, served.now(), peer)

    await _in_equal_time(served, work)
    return Said("if the address has an account, an e-mail says how to go on")


@router.put("/v1/accounts/password-reset", status_code=204)
def put_reset(body: NewPassword, served: Served) -> None:
    """Set a new password with the e-mail's token; all sessions end."""
    with served.accounts() as connection:
        passwords.reset(connection, body.token, body.password, served.now())
    served.forget()


@router.put("/v1/accounts/password", status_code=204)
def put_password(body: ChangePassword, served: Served, principal: Acting) -> None:
    """Change the password; all sessions end."""
    user_id, _ = user_of(principal)
    with served.accounts() as connection:
        passwords.change(connection, user_id, old=body.old, new=body.new, now=served.now())
    served.forget()


@router.post("/v1/sessions", status_code=201)
async def post_session(request: Request, body: Login, served: Served, peer: Annotated[str, Depends(address)]) -> Tokens:
    """Log in."""

    def work() -> Tokens:
        with served.accounts() as connection:
            return sessions.log_in(
                connection,
                served.key,
                email=body.email,
                password=body.password,
                address=peer,
                user_agent=request.headers.get("user-agent", ""),
                now=served.now(),
            )

    return await _in_equal_time(served, work)


@router.post("/v1/sessions/refresh", status_code=201)
def post_refresh(body: Token, served: Served) -> Tokens:
    """New tokens for a refresh token, which is used up. One that was used before ends its session."""
    with served.accounts() as connection:
        return sessions.refresh(connection, served.key, body.token, served.now())


@router.post("/v1/sessions/switch", status_code=201)
def post_switch(body: Switch, served: Served, principal: Acting) -> Tokens:
    """Tokens for another organization of the user."""
    user_of(principal)
    with served.accounts() as connection:
        return sessions.switch_organization(connection, served.key, principal, body.organization_id, served.now())


@router.get("/v1/sessions")
def get_sessions(served: Served, principal: Acting) -> list[Session]:
    """The user's sessions."""
    user_id, _ = user_of(principal)
    with served.accounts() as connection:
        return sessions.sessions(connection, user_id, served.now())


@router.delete("/v1/sessions/current", status_code=204)
def delete_session(served: Served, principal: Acting) -> None:
    """Log out."""
    _, session_id = user_of(principal)
    with served.accounts() as connection:
        sessions.log_out(connection, session_id, served.now())
    served.forget()


@router.delete("/v1/sessions", status_code=204)
def delete_sessions(served: Served, principal: Acting) -> None:
    """Log out everywhere."""
    user_id, _ = user_of(principal)
    with served.accounts() as connection:
        sessions.log_out_everywhere(connection, user_id, served.now())
    served.forget()


@router.get("/v1/me")
def get_me(served: Served, principal: Acting) -> Me:
    """Who asks, and what it may do."""
    with served.accounts() as connection:
        mine = [] if principal.user_id is None else sessions.memberships(connection, principal.user_id)
    return Me(principal.organization_id, principal.actor, principal.role, sorted(principal.scopes), mine)


@router.post("/v1/invitations/look")
def post_look(body: Token, served: Served) -> Invited:
    """What an invitation's token says."""
    with served.accounts() as connection:
        return invitations.look(connection, body.token, served.now())


@dataclass(frozen=True)
class Joined:
    """A user that is a member now."""

    user_id: UUID
    at: datetime


@router.post("/v1/invitations/accept", status_code=201)
def post_accept(body: Accept, served: Served) -> Joined:
    """Accept an invitation."""
    with served.accounts() as connection:
        user_id = invitations.accept(connection, body.token, name=body.name, password=body.password, now=served.now())
    return Joined(user_id, served.now())
