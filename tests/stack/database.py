"""The fixture `database`: a fresh, migrated database on the stack's PostgreSQL, with a URL per role."""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from pipeline.schema import migrate_database
from schemas.migrations import ROLES
from tests.stack.fixtures import fresh_database
from tests.stack.providers import Server


@dataclass(frozen=True)
class Database:
    """A migrated database of one test alone, on the shared server. Roles belong to the server, with its password."""

    server: Server
    name: str

    def url(self, role: str = "postgres") -> str:
        """Its connection URL as the owner of the schema (a superuser), or as "driftlock_sink" and so on."""
        return self.server.url(database=self.name, role=role)

    def environ(self) -> dict[str, str]:
        """The settings of a process that uses it."""
        urls = {f"DATABASE_URL_{role.removeprefix('driftlock_').upper()}": self.url(role) for role in ROLES}
        return {"DATABASE_URL": self.url(), **urls}


def password(server: Server) -> str:
    """The one password of a server of the tests."""
    return str(psycopg.conninfo.conninfo_to_dict(server.url())["password"])


def migrate(server: Server, name: str) -> Database:
    """Migrate a database that is there; roles get the server's password."""
    made = Database(server, name)
    with psycopg.connect(made.url(), autocommit=True) as connection:
        migrate_database(connection, dict.fromkeys(ROLES, password(server)))
    return made


@pytest.fixture(scope="session")
def migrated_template(postgres: Server) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to, to be copied."""
    with fresh_database(postgres) as empty:
        yield migrate(postgres, empty.name).name


@pytest.fixture
def database(postgres: Server, migrated_template: str) -> Iterator[Database]:
    """A fresh migrated database for this test alone, dropped after it."""
    with fresh_database(postgres, migrated_template) as copy:
        yield Database(postgres, copy.name)
