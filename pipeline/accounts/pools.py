"""The connections of a process that serves tenants: pools of the roles driftlock_api and driftlock_accounts."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool

from schemas.settings import Settings

Pool = ConnectionPool[psycopg.Connection[Any]]


@dataclass(frozen=True)
class Pools:
    """`tenants`: role driftlock_api, for pipeline.tenants; `accounts`: role driftlock_accounts, for pipeline.accounts."""

    tenants: Pool
    accounts: Pool


def open_pools(settings: Settings, size: int = 8) -> Pools:
    """Open both, in autocommit mode and UTC. `SettingsError`, `DatabaseUnreachable`."""
    raise NotImplementedError
