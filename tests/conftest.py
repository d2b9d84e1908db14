"""Fixtures that every test may ask for."""

from tests.stack.database import database, migrated_template
from tests.stack.fixtures import broker, own_broker, own_postgres, postgres, topic_prefix

__all__ = ["broker", "database", "migrated_template", "own_broker", "own_postgres", "postgres", "topic_prefix"]
