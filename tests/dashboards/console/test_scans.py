"""Scans of uploads: bounded, and nothing is left of the file."""

import gzip
import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards.console import scans
from dashboards.console.scans import Job, Scans
from detectors.detector import Controls
from pipeline.scan.parse import Fields
from pipeline.scan.read import ScanInput
from tests.browser.logs import LINES, ODD_LINE, lines

WAIT_S = 120.0


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def jobs() -> Iterator[Scans]:
    made = Scans()
    yield made
    scans.close(made)


def uploaded(jobs: Scans, content: bytes, name: str = "some.log", fields: Fields | None = None) -> Job:
    job = scans.submit(jobs, io.BytesIO(content), name, fields or Fields(), Controls())
    deadline = time.monotonic() + WAIT_S
    while job.ended is None and time.monotonic() < deadline:
        jobs.stopped.wait(0.01)
    return job


def log() -> bytes:
    return "".join(f"{line}\n" for line in lines()).encode()


@pytest.mark.parametrize("packed", [False, True])
def test_an_upload_is_scanned_and_its_file_is_gone(jobs: Scans, temporary: Path, packed: bool) -> None:
    job = uploaded(jobs, gzip.compress(log()) if packed else log())
    assert (job.state, job.error, job.percent) == ("done", "", 100)
    assert job.result is not None
    assert (job.result.events, job.result.total) == (LINES, 1)
    assert job.result.found[0].line == ODD_LINE
    assert list(temporary.iterdir()) == []


def test_a_small_file_that_unpacks_to_too_much_is_refused_while_it_is_read(
    jobs: Scans, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "MAX_TEXT_BYTES", 1 << 20)
    job = uploaded(jobs, gzip.compress(b"the same line again and again\n" * 400_000))
    assert job.state == "failed"
    assert "unpacks to more than 1 MiB" in job.error
    assert list(temporary.iterdir()) == []


def test_a_scan_ends_when_its_time_is_up(jobs: Scans, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "MAX_SECONDS", -1.0)
    assert "takes longer than" in uploaded(jobs, log()).error
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"", "a.log", "empty"),
        (b" \n\n", "a.log", "empty"),
        (b"\x89PNG\0\0", "a.png", "not text"),
        (b"\x28\xb5\x2f\xfd....", "a.log", "zstd"),
    ],
)
def test_what_is_no_log_is_refused(jobs: Scans, temporary: Path, content: bytes, name: str, said: str) -> None:
    with pytest.raises(ScanInput, match=said):
        scans.submit(jobs, io.BytesIO(content), name, Fields(), Controls())
    assert list(temporary.iterdir()) == []
    assert jobs.jobs == {}


def test_an_error_names_the_file_as_its_owner_does_and_no_place_of_ours(jobs: Scans, temporary: Path) -> None:
    job = uploaded(jobs, b"no json\n" * 3, "mine.log", Fields(event="message"))
    assert job.state == "failed"
    assert job.error.startswith("mine.log, line 1 is not JSON")
    assert str(temporary) not in job.error


def test_closing_removes_the_files_that_wait_and_nothing_else(temporary: Path) -> None:
    jobs = Scans()
    other = temporary / "other"
    other.mkdir()
    for _ in range(3):
        scans.submit(jobs, io.BytesIO(log()), "a.log", Fields(), Controls())
    scans.close(jobs)
    assert list(temporary.iterdir()) == [other]
    assert jobs.jobs == {}


def test_results_are_forgotten_by_age_and_by_number(jobs: Scans) -> None:
    for number in range(scans.MOST_KEPT + 3):
        job = Job(str(number), "a", Path("a"), 1, Fields(), Controls(), ended=100.0 + number)
        jobs.jobs[job.id] = job
    jobs.jobs["runs"] = Job("runs", "a", Path("a"), 1, Fields(), Controls())
    scans.purge(jobs, 200.0)
    assert len(jobs.jobs) == scans.MOST_KEPT + 1
    assert "0" not in jobs.jobs
    scans.purge(jobs, 200.0 + scans.KEPT_SECONDS + scans.MOST_KEPT)
    assert list(jobs.jobs) == ["runs"]
