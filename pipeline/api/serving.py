"""What the routes work with: connections, the clock, who asks, and what its organization may. One for a process."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import psycopg
import structlog
from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from billing import plans, quota
from billing.stripe_gateway import Connection as Stripe
from billing.tenant import tenant
from pipeline.accounts import announce, sessions
from pipeline.accounts.errors import BadToken, Forbidden
from pipeline.accounts.pools import Pools
from pipeline.accounts.roles import Principal, Scope
from pipeline.api.intake import Intake
from pipeline.api.limits import Buckets
from pipeline.api.live import Feed
from pipeline.tenants import keys
from pipeline.tenants.endpoints import Sealing
from schemas.errors import DeliveryFailed, UnknownOrganization

Connection = psycopg.Connection[Any]
PRINCIPAL_S, STANDING_S = 1.0, 2.0
_MOST = 10_000
_LOG = structlog.get_logger("pipeline.api")


@dataclass(frozen=True)
class Standing:
    """What an organization may now: `blocked` where it chose that intake ends at its cap."""

    requests_per_minute: int
    blocked: bool
    until: datetime | None


@dataclass
class Serving:
    """All that a request needs. `answer_s`: how long sign-up, reset and login take at least, whoever is asked for.

    `stripe`: None where no key is set, then plans can't be changed here. `console_url`: where Stripe sends a person back to.
    """

    pools: Pools
    key: bytes
    intake: Intake
    feed: Feed
    credit_limit_percent: int
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    answer_s: float = 0.5
    sealing: Sealing = field(default_factory=lambda: Sealing(()))
    stripe: Stripe | None = None
    console_url: str = ""
    buckets: Buckets = field(init=False)
    principals: dict[str, tuple[float, Principal]] = field(default_factory=dict)
    checked: dict[Principal, float] = field(default_factory=dict)
    announced: set[UUID] = field(default_factory=set)
    standings: dict[UUID, tuple[float, Standing]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.buckets = Buckets(self.monotonic)

    @contextmanager
    def tenants(self) -> Iterator[Connection]:
        """A connection for pipeline.tenants."""
        with self.pools.tenants.connection() as connection:
            yield connection

    @contextmanager
    def accounts(self) -> Iterator[Connection]:
        """A connection for pipeline.accounts."""
        with self.pools.accounts.connection() as connection:
            yield connection

    def known(self, token: str) -> Principal | None:
        """Who a token or key is, if that was asked within the last second."""
        known = self.principals.get(token)
        return known[1] if known is not None and self.monotonic() < known[0] else None

    def who(self, token: str) -> Principal:
        """Who a token or key is, remembered for a second. `BadToken`."""
        at = self.monotonic()
        if (known := self.known(token)) is not None:
            return known
        if len(self.principals) >= _MOST:
            self.principals.clear()
        with self.accounts() as connection:
            if token.startswith("dlk_"):
                found = keys.authenticate(connection, token, self.now())
            else:
                found = sessions.authenticate(connection, self.key, token, self.now())
        self.principals[token] = (at + PRINCIPAL_S, found)
        return found

    def forget(self) -> None:
        """Forget who was who: something about it changed here."""
        self.principals.clear()

    def checked_now(self, principal: Principal) -> bool:
        """Whether `again` was answered within the last second: then nothing needs to be asked."""
        known = self.checked.get(principal)
        return known is not None and self.monotonic() < known

    def again(self, principal: Principal) -> Principal:
        """The same principal asked for anew; `BadToken` once it is nobody."""
        at = self.monotonic()
        if self.checked_now(principal):
            return principal
        with self.accounts() as connection:
            found = (
                sessions.standing(connection, principal, self.now())
                if principal.key_id is None
                else keys.standing(connection, principal, self.now())
            )
        if len(self.checked) >= _MOST:
            self.checked.clear()
        self.checked[found] = at + PRINCIPAL_S
        return found

    def require_announced(self, organization_id: UUID) -> None:
        """Tell workers of the organization, unless this process has: a sign-up's own message may have failed."""
        if organization_id in self.announced:
            return
        with self.tenants() as connection, tenant(connection, organization_id):
            row = connection.execute("SELECT version FROM organizations WHERE id = %s", (organization_id,)).fetchone()
        announce.organization(self.intake.producer, organization_id, row[0] if row else 1)
        self.announced.add(organization_id)

    def announce(self, organization_id: UUID) -> None:
        """Tell workers of the organization; where Kafka is away its first events will."""
        try:
            self.require_announced(organization_id)
        except DeliveryFailed as error:
            _LOG.warning("organization not announced yet", organization_id=str(organization_id), error=str(error))

    def standing_now(self, principal: Principal) -> Standing | None:
        """What the organization may, if that was asked within the last two seconds."""
        known = self.standings.get(principal.organization_id)
        return known[1] if known is not None and self.monotonic() < known[0] else None

    def standing(self, principal: Principal) -> Standing:
        """What the organization may, remembered for two seconds."""
        at, organization_id = self.monotonic(), principal.organization_id
        if (known := self.standing_now(principal)) is not None:
            return known
        if len(self.standings) >= _MOST:
            self.standings.clear()
        try:
            with self.tenants() as connection, tenant(connection, organization_id):
                said = quota.quota(connection, organization_id, self.now())
            found = Standing(said.terms.requests_per_minute, said.blocked, said.period_end)
        except UnknownOrganization:  # periods were not rolled yet
            found = Standing(plans.latest("developer").requests_per_minute, blocked=False, until=None)
        self.standings[organization_id] = (at + STANDING_S, found)
        return found


# Dependencies are coroutines, and go to a thread only for what was not asked just now: the framework's threads cost more than
# all that these do.
async def serving(request: Request) -> Serving:
    """The serving of this process."""
    found: Serving = request.app.state.serving
    return found


Served = Annotated[Serving, Depends(serving)]
_BEARER = HTTPBearer(auto_error=False, description="an access token, or an API key `dlk_<id>.<secret>`")


async def authenticated(
    served: Served, given: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
) -> Principal:
    """Who asks; 401. Takes one request of the plan's rate limit; 429."""
    if given is None:
        raise BadToken("give an access token or an API key: Authorization: Bearer ...")
    principal = served.known(given.credentials)
    if principal is None:
        principal = await asyncio.to_thread(served.who, given.credentials)
    standing = await standing_of(served, principal)
    served.buckets.require(principal.actor, standing.requests_per_minute)
    return principal


async def standing_of(served: Serving, principal: Principal) -> Standing:
    """What the organization may now."""
    known = served.standing_now(principal)
    return known if known is not None else await asyncio.to_thread(served.standing, principal)


Acting = Annotated[Principal, Depends(authenticated)]


def allowed(scope: Scope) -> Callable[[Principal], Awaitable[Principal]]:
    """A dependency: who asks, with this scope; 403."""

    async def check(principal: Acting) -> Principal:
        principal.require(scope)
        return principal

    return check


def address(request: Request) -> str:
    """The peer's IP, as the server knows it."""
    return request.client.host if request.client else ""


def user_of(principal: Principal) -> tuple[UUID, UUID]:
    """User and session; 403 for a key, which has neither."""
    if principal.user_id is None or principal.session_id is None:
        raise Forbidden("a key has no session: log in as a user")
    return principal.user_id, principal.session_id
