"""The fixture `database`: a fresh, migrated database on the stack's PostgreSQL, with a URL per role."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from pipeline.cli.db import migrate_database
from pipeline.embedded.postgres import Postgres
from schemas.migrations import ROLES


@dataclass(frozen=True)
class Database:
    """URLs of one database: of the owner (a superuser), and of each role."""

    owner: str
    api: str
    sink: str
    meter: str
    webhook: str
    reader: str

    def environ(self) -> dict[str, str]:
        """The settings of a process that uses it."""
        return {
            "DATABASE_URL": self.owner,
            "DATABASE_URL_API": self.api,
            "DATABASE_URL_SINK": self.sink,
            "DATABASE_URL_METER": self.meter,
            "DATABASE_URL_WEBHOOK": self.webhook,
            "DATABASE_URL_READER": self.reader,
        }


def create(postgres: Postgres) -> tuple[str, Database]:
    """A fresh migrated database: its name and URLs. Roles take the server's password."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    urls = [postgres.url(database=name), *(postgres.url(database=name, role=role) for role in ROLES)]
    with psycopg.connect(urls[0], autocommit=True) as connection:
        migrate_database(connection, dict.fromkeys(ROLES, postgres.password))
    return name, Database(*urls)


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    """A fresh migrated database, dropped after the test."""
    name, urls = create(postgres)
    yield urls
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
