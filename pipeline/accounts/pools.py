"""The connections of a process that serves tenants: pools of the roles driftlock_api and driftlock_accounts."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool

from pipeline.metrics import gauge
from schemas.errors import DatabaseUnreachable, SettingsError
from schemas.settings import Settings

Pool = ConnectionPool[psycopg.Connection[Any]]
LEAST_KEY = 32
_CONNECTIONS = gauge("driftlock_pool_connections")
_WAITING = gauge("driftlock_pool_waiting")


@dataclass(frozen=True)
class Pools:
    """`tenants`: role driftlock_api, for pipeline.tenants; `accounts`: role driftlock_accounts, for pipeline.accounts."""

    tenants: Pool
    accounts: Pool

    def close(self) -> None:
        """Close all connections."""
        self.tenants.close()
        self.accounts.close()


def open_pools(settings: Settings, size: int = 8) -> Pools:
    """Open both, in autocommit mode and UTC. `SettingsError`, `DatabaseUnreachable`."""
    tenants = _open("DATABASE_URL_API", settings.database_url_api.get_secret_value(), size)
    try:
        accounts = _open("DATABASE_URL_ACCOUNTS", settings.database_url_accounts.get_secret_value(), size)
    except BaseException:
        tenants.close()
        raise
    return Pools(tenants, accounts)


def _open(setting: str, url: str, size: int) -> Pool:
    if not url:
        raise SettingsError(f"{setting} is not set: a role of its own (.env.example)")
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.Error as error:
        said = " ".join(str(error).split())[:300]
        raise DatabaseUnreachable(f"PostgreSQL does not answer at {setting}: {said}") from error
    pool: Pool = ConnectionPool(
        url,
        kwargs={"autocommit": True, "connect_timeout": 5, "options": "-c timezone=UTC -c statement_timeout=15000"},
        min_size=1,
        max_size=size,
        timeout=5.0,
        open=True,
        check=ConnectionPool.check_connection,
        name=setting.lower(),
    )
    _watch(pool)
    return pool


def _watch(pool: Pool) -> None:
    """Show the pool's state whenever metrics are asked for."""

    def connections(*, used: bool) -> float:
        stats = pool.get_stats()
        idle = stats.get("pool_available", 0)
        return stats.get("pool_size", 0) - idle if used else idle

    _CONNECTIONS.labels(pool.name, "used").set_function(lambda: connections(used=True))
    _CONNECTIONS.labels(pool.name, "idle").set_function(lambda: connections(used=False))
    _WAITING.labels(pool.name).set_function(lambda: pool.get_stats().get("requests_waiting", 0))


def access_token_key(settings: Settings) -> bytes:
    """The key that signs access tokens; `SettingsError` for none, or a short one."""
    key = settings.access_token_key.get_secret_value().encode()
    if len(key) < LEAST_KEY:
        raise SettingsError(f"ACCESS_TOKEN_KEY must have {LEAST_KEY} characters or more: `openssl rand -base64 48`")
    return key
