"""Fixtures that every test may ask for."""

from hypothesis import settings

from tests.integration.api_world import api_world
from tests.stack.database import database, migrated_template
from tests.stack.fixtures import broker, own_broker, own_postgres, postgres, topic_prefix
from tests.stack.stripe import fake_stripe

__all__ = [
    "api_world",
    "broker",
    "database",
    "fake_stripe",
    "migrated_template",
    "own_broker",
    "own_postgres",
    "postgres",
    "topic_prefix",
]

# No example is timed: on a busy machine one may take a second, and a speed is a benchmark's subject.
settings.register_profile("driftlock", deadline=None)
settings.load_profile("driftlock")
