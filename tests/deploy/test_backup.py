"""The restore drill: a ledger, a base backup, more of it, the server lost; restored to the second before a mistake, and to the end."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from billing import ledger
from pipeline.embedded import postgres
from pipeline.embedded.postgres import Postgres
from pipeline.embedded.postgres_programs import debian
from schemas.migrations import ROLES
from tests.deploy.compose import ROOT
from tests.integration.books import FIRST, Books, open_books
from tests.stack.fixtures import scratch
from tests.stack.providers import needed

SCRIPTS = ROOT / "deploy" / "backup"
TABLES = ("ledger", "ledger_heads", "usage_counters", "meter_hours", "sink_offsets", "cap_settings", "billing_periods")


@dataclass(frozen=True)
class Place:
    """Where a drill happens."""

    folder: Path
    server: Postgres

    @property
    def archive(self) -> Path:
        return self.folder / "wal"

    def script(self, name: str, *words: object) -> subprocess.CompletedProcess[str]:
        programs = Path(self.server.programs.path("postgres")).parent
        environ = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.server.port),
            "PGUSER": "postgres",
            "PGPASSWORD": self.server.password,
        }
        command = [str(SCRIPTS / name), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)


@pytest.fixture
def place() -> Iterator[Place]:
    with scratch() as folder:
        server = needed(
            lambda: postgres.new(folder / "server", programs=debian())
        )  # the wheel's pg_verifybackup crashes
        (folder / "wal").mkdir(mode=0o777)
        (folder / "wal").chmod(0o777)
        server.settings.update(
            archive_mode="on", archive_command=f"{SCRIPTS / 'archive-wal'} {folder / 'wal'} %p %f", wal_level="replica"
        )
        try:
            server.start()
            yield Place(folder, server)
        finally:
            server.remove()


def facts(server: Postgres, name: str) -> dict[str, Any]:
    """Everything that must be equal: each row of what counts, and whether the chain holds."""
    with psycopg.connect(server.url(database=name), autocommit=True) as connection:
        found: dict[str, Any] = {
            table: connection.execute(
                f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)), count(*) FROM {table} t"
            ).fetchone()
            for table in TABLES
        }
        found["units"] = connection.execute("SELECT sum(units) FROM ledger").fetchone()
        found["chain"] = [ledger.verify(connection, one) for one in ledger.organizations(connection)]
        return found


@contextmanager
def restored(place: Place, base: str, name: str, at: str = "") -> Iterator[Postgres]:
    folder = place.folder / name
    folder.mkdir()
    shutil.copy(place.server.data_dir / "password", folder / "password")
    done = place.script("restore", base, place.archive, folder / "cluster", *([at] if at else []))
    assert done.returncode == 0, done.stderr
    server = postgres.new(folder, programs=place.server.programs)
    try:
        server.start()
        end = time.monotonic() + 60
        while not _promoted(server):
            assert time.monotonic() < end
            time.sleep(0.05)
        yield server
    finally:
        server.remove()


def _promoted(server: Postgres) -> bool:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)


def _now(server: Postgres) -> str:
    """The server's time, once every commit before is older than it."""
    time.sleep(0.02)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        row = connection.execute("SELECT clock_timestamp()::text").fetchone()
    time.sleep(0.02)
    assert row is not None
    return str(row[0])


def _archived(place: Place) -> None:
    """Until what was written last is in the archive."""
    with psycopg.connect(place.server.url(), autocommit=True) as connection:
        row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
    assert row is not None
    end = time.monotonic() + 60
    while not (place.archive / row[0]).exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_lost_server_comes_back_as_it_was_at_any_second(place: Place) -> None:
    with open_books(place.server) as books:
        name = books.database.name
        one, two = books.subscribed(), books.subscribed()
        _use(books, one, 5)
        books.owner.execute(
            "INSERT INTO sink_offsets (consumer, topic_id, partition, topic, next_offset, owner, updated_at)"
            " VALUES ('sink-usage', 't', 0, 'usage', 5, gen_random_uuid(), now())"
        )
        backup = place.script("base-backup", place.folder / "base", 1)
        assert backup.returncode == 0, backup.stderr
        base = backup.stdout.strip()
        _use(books, two, 7)
        books.owner.execute("UPDATE sink_offsets SET next_offset = 12")
        good, before = facts(place.server, name), _now(place.server)
        _use(books, one, 11)
        books.owner.execute("UPDATE sink_offsets SET next_offset = 0")
        last = facts(place.server, name)
        _archived(place)
        place.server.kill()
        assert good != last
        assert good["chain"] == [None, None]
        assert good["units"] == (12,)
        with restored(place, base, "earlier", before) as server:
            assert facts(server, name) == good
            with psycopg.connect(server.url(database=name, role=ROLES[0])) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
        with restored(place, base, "end") as server:
            assert facts(server, name) == last
        place.server.start()  # its database is dropped now


def _use(books: Books, organization: UUID, times: int) -> None:
    for i in range(times):
        books.write([books.record(organization, FIRST + timedelta(minutes=i))])


def test_a_segment_is_never_replaced_and_the_same_one_is_no_error(tmp_path: Path) -> None:
    archive, segment = tmp_path / "wal", tmp_path / "segment"
    archive.mkdir()
    segment.write_bytes(b"one")
    command = [str(SCRIPTS / "archive-wal"), str(archive), str(segment), "000000010000000000000001"]
    for _ in range(2):
        assert subprocess.run(command, check=False).returncode == 0
    segment.write_bytes(b"two")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "two servers" in done.stderr
    assert [path.read_bytes() for path in archive.iterdir()] == [b"one"]


@pytest.mark.parametrize(("missing", "said"), [("base", "is no base backup"), ("target", "is there already")])
def test_a_restore_says_what_is_wrong_and_touches_nothing(missing: str, said: str, tmp_path: Path) -> None:
    base, target = tmp_path / "base", tmp_path / "target"
    base.mkdir()
    if missing == "target":
        (base / "backup_manifest").write_text("{}", "ascii")
        target.mkdir()
    command = [str(SCRIPTS / "restore"), str(base), str(tmp_path), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert not target.exists() or list(target.iterdir()) == []
