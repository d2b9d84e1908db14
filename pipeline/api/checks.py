"""Whether what the API needs answers: each check says in one line what is wrong, or nothing, within about two seconds."""

from collections.abc import Callable, Mapping

import psycopg
from confluent_kafka import KafkaException

from pipeline import kafka
from schemas.errors import DatabaseUnreachable, DriftlockError, SettingsError
from schemas.settings import Settings


def checks(settings: Settings) -> Mapping[str, Callable[[], str]]:
    """The checks of /readyz: Kafka and the database as the API's own role."""
    client = kafka.admin(settings)

    def broker() -> str:
        try:
            client.list_topics(timeout=2.0)
        except KafkaException as error:
            return f"Kafka does not answer: {error.args[0].str()}"
        return ""

    def database() -> str:
        try:
            require_database(settings)
        except DriftlockError as error:
            return str(error)
        return ""

    return {"kafka": broker, "database": database}


def require_database(settings: Settings) -> None:
    """`SettingsError` or `DatabaseUnreachable`, in one line, unless the database answers the API's own role."""
    url = settings.database_url_api.get_secret_value()
    if not url:
        raise SettingsError("DATABASE_URL_API is not set: the API's own role, driftlock_api")
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        raise DatabaseUnreachable(
            f"PostgreSQL does not answer at DATABASE_URL_API: {' '.join(str(error).split())}"
        ) from error
