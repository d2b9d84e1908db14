"""A console on a real database, without a network, and people who signed up by its forms."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from fastapi import FastAPI

from billing.stripe_gateway import Connection as Stripe
from dashboards.console.app import build
from dashboards.console.live import Hub
from dashboards.console.parts import Parts
from pipeline.accounts.pools import Pools, open_pools
from schemas.settings import load
from tests.dashboards.console.visitor import Visitor
from tests.integration.accounts_world import PASSWORD, token_of
from tests.stack.database import Database


@dataclass
class World:
    """A console on a database, without a network."""

    database: Database
    app: FastAPI
    announced: list[UUID]
    hub: Hub


@contextmanager
def console(database: Database, stripe: Stripe | None = None) -> Iterator[World]:
    """A console until the end of the block."""
    urls = {"API_URL": "https://api.example/", "CONSOLE_URL": "https://console.test/"}
    settings = load({**database.environ(), "ACCESS_TOKEN_KEY": "k" * 40, **urls})
    pools: Pools = open_pools(settings, size=4)
    announced: list[UUID] = []
    hub = Hub(database.url("driftlock_api"))
    hub.start()
    try:
        parts = Parts(pools, b"k" * 40, settings, announced.append, lambda: datetime.now(UTC), hub, stripe)
        yield World(database, build(parts), announced, hub)
    finally:
        hub.stop()
        pools.close()


def person(world: World, email: str) -> Visitor:
    """Somebody who signed up and logged in, by the console's forms."""
    one = Visitor(world.app)
    said = {
        "email": email,
        "name": email.split("@", maxsplit=1)[0].title(),
        "organization": f"{email}'s",
        "password": PASSWORD,
    }
    assert one.post("/signup", data={**said, "token": one.token("/signup")}).status_code == 200
    secret = token_of(world.database, email)
    verified = one.post("/verify", data={"secret": secret, "token": one.token(f"/verify?token={secret}")})
    assert verified.status_code == 303, verified.text
    logged = one.post("/login", data={"email": email, "password": PASSWORD, "token": one.token("/login")})
    assert (logged.status_code, logged.headers["location"]) == (303, "/anomalies")
    return one


def organization(world: World) -> UUID:
    """The organization of who signed up last."""
    return world.announced[-1]
