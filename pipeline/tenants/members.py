"""Members and invitations of an organization. Connections are of role driftlock_api, in autocommit mode."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg

from billing import actions, outbox
from billing.outbox import Letter
from billing.periods import milliseconds
from billing.tenant import tenant
from pipeline.accounts import texts
from pipeline.accounts.errors import Conflict, Forbidden, Invalid, NotFound
from pipeline.accounts.roles import RANK, Principal, Role
from pipeline.accounts.secret import digest, new_token
from schemas.notices import AccountInvited

Connection = psycopg.Connection[Any]

INVITED_FOR = timedelta(days=7)
MOST_INVITATIONS = 100


@dataclass(frozen=True)
class Member:
    """A user who is a member."""

    user_id: UUID
    email: str
    name: str
    role: Role
    since: datetime


@dataclass(frozen=True)
class Invitation:
    """An invitation that is not accepted yet."""

    id: UUID
    email: str
    role: Role
    invited_by: str
    created_at: datetime
    expires_at: datetime


def list_members(connection: Connection, organization_id: UUID) -> list[Member]:
    """All members, owners first."""
    with tenant(connection, organization_id):
        found = _members(connection, organization_id)
    return sorted(found, key=lambda m: (-RANK[m.role], m.since, m.user_id))


def set_role(connection: Connection, principal: Principal, user_id: UUID, role: Role, *, at: datetime) -> Member:
    """Give a member another role; at least one owner stays, nobody gives or takes more than its own role.

    `NotFound`, `Forbidden`, `Conflict`.
    """
    principal.require("members:write")
    with tenant(connection, principal.organization_id):
        member, others = _locked(connection, principal.organization_id, user_id)
        _within(principal, member.role)
        _within(principal, role)
        if role != "owner":
            _keep_an_owner(member, others)
        connection.execute(
            "UPDATE memberships SET role = %s WHERE organization_id = %s AND user_id = %s",
            (role, principal.organization_id, user_id),
        )
        _record(connection, principal, "member.role", {"user": str(user_id), "role": member.role}, {"role": role}, at)
        return replace(member, role=role)


def remove_member(connection: Connection, principal: Principal, user_id: UUID, *, at: datetime) -> None:
    """End a membership; anybody may leave. At least one owner stays. `NotFound`, `Forbidden`, `Conflict`."""
    if user_id != principal.user_id:
        principal.require("members:write")
    with tenant(connection, principal.organization_id):
        member, others = _locked(connection, principal.organization_id, user_id)
        if user_id != principal.user_id:
            _within(principal, member.role)
        _keep_an_owner(member, others)
        connection.execute(
            "UPDATE memberships SET ended_at = %s WHERE organization_id = %s AND user_id = %s",
            (at, principal.organization_id, user_id),
        )
        _record(connection, principal, "member.remove", {"user": str(user_id), "role": member.role}, None, at)


def list_invitations(connection: Connection, organization_id: UUID, now: datetime) -> list[Invitation]:
    """Invitations that can still be accepted, the newest first."""
    with tenant(connection, organization_id):
        return _open(connection, organization_id, now)


def invite(connection: Connection, principal: Principal, email: str, role: Role, *, at: datetime) -> Invitation:
    """Mail an invitation of 7 days; one to the same e-mail before it is void. `Forbidden`, `Invalid`, `Conflict`."""
    principal.require("members:write")
    email = texts.email(email)
    organization_id = principal.organization_id
    _within(principal, role)
    with tenant(connection, organization_id):
        connection.execute("SELECT 1 FROM organizations WHERE id = %s FOR NO KEY UPDATE", (organization_id,))
        if any(m.email == email for m in _members(connection, organization_id)):
            raise Conflict("that is a member already")
        connection.execute(
            "UPDATE invitations SET withdrawn_at = %s WHERE organization_id = %s AND email = %s"
            " AND accepted_at IS NULL AND withdrawn_at IS NULL",
            (at, organization_id, email),
        )
        if len(_open(connection, organization_id, at)) >= MOST_INVITATIONS:
            raise Invalid(f"at most {MOST_INVITATIONS} invitations are open at once: withdraw one")
        row = connection.execute(
            "SELECT count(*) FROM invitations WHERE organization_id = %s AND created_at > %s",
            (organization_id, at - timedelta(days=1)),
        ).fetchone()
        if row is not None and row[0] >= 2 * MOST_INVITATIONS:
            raise Invalid(f"at most {2 * MOST_INVITATIONS} invitations a day")
        token, made = new_token(), Invitation(uuid4(), email, role, principal.actor, at, at + INVITED_FOR)
        connection.execute(
            "INSERT INTO invitations (organization_id, id, email, role, token_hash, invited_by, created_at, expires_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (organization_id, made.id, email, role, digest(token), principal.actor, at, made.expires_at),
        )
        notice = AccountInvited(organization_id=organization_id, at=milliseconds(at), to=email, token=token, role=role)
        outbox.put(connection, [Letter(f"invitation/{made.id}", notice)])
        _record(connection, principal, "invitation.create", None, {"id": str(made.id), "role": role}, at)
    return made


def withdraw(connection: Connection, principal: Principal, invitation_id: UUID, *, at: datetime) -> None:
    """Withdraw an invitation. `NotFound`."""
    principal.require("members:write")
    with tenant(connection, principal.organization_id):
        done = connection.execute(
            "UPDATE invitations SET withdrawn_at = %s WHERE organization_id = %s AND id = %s"
            " AND accepted_at IS NULL AND withdrawn_at IS NULL",
            (at, principal.organization_id, invitation_id),
        )
        if not done.rowcount:
            raise NotFound("there is no such open invitation")
        _record(connection, principal, "invitation.withdraw", {"id": str(invitation_id)}, None, at)


def _members(connection: Connection, organization_id: UUID) -> list[Member]:
    rows = connection.execute(
        "SELECT u.id, u.email, u.name, m.role, m.since FROM memberships m JOIN users u ON u.id = m.user_id"
        " WHERE m.organization_id = %s AND m.ended_at IS NULL",
        (organization_id,),
    )
    return [Member(*row) for row in rows]


def _open(connection: Connection, organization_id: UUID, now: datetime) -> list[Invitation]:
    rows = connection.execute(
        "SELECT id, email, role, invited_by, created_at, expires_at FROM invitations WHERE organization_id = %s"
        " AND accepted_at IS NULL AND withdrawn_at IS NULL AND expires_at > %s ORDER BY created_at DESC, id",
        (organization_id, now),
    )
    return [Invitation(*row) for row in rows]


def _locked(connection: Connection, organization_id: UUID, user_id: UUID) -> tuple[Member, list[Member]]:
    """A member and the others, memberships locked so that two owners can't end each other."""
    connection.execute(
        "SELECT 1 FROM memberships WHERE organization_id = %s ORDER BY user_id FOR UPDATE", (organization_id,)
    )
    found = _members(connection, organization_id)
    member = next((m for m in found if m.user_id == user_id), None)
    if member is None:
        raise NotFound("there is no such member")
    return member, [m for m in found if m.user_id != user_id]


def _within(principal: Principal, role: Role) -> None:
    if principal.role is None or RANK[role] > RANK[principal.role]:
        raise Forbidden(f"only who is {role} or more can do this")


def _keep_an_owner(member: Member, others: list[Member]) -> None:
    if member.role == "owner" and not any(m.role == "owner" for m in others):
        raise Conflict("an organization keeps an owner: make somebody else one first")


def _record(
    connection: Connection,
    principal: Principal,
    action: str,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    at: datetime,
) -> None:
    actions.record(
        connection, principal.organization_id, actor=principal.actor, action=action, before=before, after=after, at=at
    )
