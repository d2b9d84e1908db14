"""`driftlock jobs run`: a pass at the start, ready when it was done; PostgreSQL being down is waited out and said."""

import threading
import time
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from pipeline import jobs
from schemas.errors import SettingsError
from schemas.settings import Settings, load
from tests.stack.fixtures import Fresh


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def running(settings: Settings, check: Callable[[jobs.Status], bool]) -> None:
    stop, status = threading.Event(), jobs.Status()
    thread = threading.Thread(target=jobs.run, args=(settings, stop, status))
    thread.start()
    try:
        until(lambda: check(status))
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


def test_a_pass_is_made_at_the_start(database: Fresh) -> None:
    before = time.time()
    running(load({"DATABASE_URL_JOBS": database.url("driftlock_jobs")}), lambda status: status.wrong() == "")
    assert (REGISTRY.get_sample_value("driftlock_jobs_progress_timestamp_seconds") or 0) >= before


def test_postgres_being_down_is_waited_out_and_said() -> None:
    nobody = load({"DATABASE_URL_JOBS": "postgresql://driftlock_jobs@127.0.0.1:9/driftlock"})
    running(nobody, lambda status: "does not answer at DATABASE_URL_JOBS" in status.wrong())


def test_no_database_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL_JOBS is not set"):
        jobs.run(load({}), threading.Event(), jobs.Status())
