"""Roles of members, scopes of keys, and who a request acts for."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal
from uuid import UUID

from pipeline.accounts.errors import Forbidden

Role = Literal["owner", "admin", "member", "viewer"]
Scope = Literal[
    "events:write",
    "anomalies:read",
    "anomalies:write",
    "streams:read",
    "streams:write",
    "settings:read",
    "settings:write",
    "usage:read",
    "billing:read",
    "billing:write",
    "keys:read",
    "keys:write",
    "members:read",
    "members:write",
    "audit:read",
]

_VIEWER: frozenset[Scope] = frozenset(
    {"anomalies:read", "streams:read", "settings:read", "usage:read", "members:read", "keys:read"}
)
_MEMBER: frozenset[Scope] = _VIEWER | {"events:write", "anomalies:write", "streams:write"}
_ADMIN: frozenset[Scope] = _MEMBER | {"settings:write", "billing:read", "keys:write", "members:write", "audit:read"}
SCOPES: Mapping[Role, frozenset[Scope]] = MappingProxyType(
    {"viewer": _VIEWER, "member": _MEMBER, "admin": _ADMIN, "owner": _ADMIN | {"billing:write"}}
)
"""What each role may do."""

KEY_SCOPES: tuple[Scope, ...] = (
    "events:write",
    "anomalies:read",
    "anomalies:write",
    "streams:read",
    "streams:write",
    "settings:read",
    "settings:write",
    "usage:read",
    "billing:read",
    "audit:read",
)
"""What a key may be given: no key makes keys or members."""

RANK: Mapping[Role, int] = MappingProxyType({"viewer": 0, "member": 1, "admin": 2, "owner": 3})


@dataclass(frozen=True)
class Principal:
    """Who acts, for which organization. `actor` is what history and audit say: `user/<id>` or `key/<id>`."""

    organization_id: UUID
    actor: str
    scopes: frozenset[Scope]
    role: Role | None = None
    user_id: UUID | None = None
    session_id: UUID | None = None
    key_id: str | None = None

    def require(self, scope: Scope) -> None:
        """`Forbidden` unless the scope is among these."""
        if scope not in self.scopes:
            raise Forbidden(f"this needs {scope}: ask for another role, or use another key")
