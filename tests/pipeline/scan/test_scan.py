"""The scan command: what it prints, its exit codes, and that it says the same as the detector however files are cut."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from pipeline.scan import read
from tests.detectors.streams import lines

N, AT = 3000, 2500


def scan(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "scan", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=280,
    )


@pytest.fixture(scope="module")
def log() -> bytes:
    """Lines with a flood at 2,500."""
    steady = lines(N, 17)
    steady[AT : AT + 100] = [b"12:00:00 ERROR connection refused by database primary"] * 100
    return b"\n".join(steady) + b"\n"


@pytest.fixture(scope="module")
def json_log(log: bytes) -> bytes:
    """The same as JSON lines of two streams, one quiet."""
    rows = []
    for i, line in enumerate(log.decode().splitlines()):
        rows.append(json.dumps({"ts": 1_700_000_000 + i, "event": line, "series": "a"}))
        if i % 3 == 0:
            rows.append(
                json.dumps({"ts": "2024-01-01T00:00:00Z", "event": {"level": "info", "n": i % 5}, "series": "b"})
            )
    return "\n".join(rows).encode()


def test_findings_are_readable_and_exit_code_is_one(log: bytes, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_bytes(log)
    done = scan(str(file))
    assert done.returncode == 1
    out = done.stdout.decode()
    assert f"{file}:25" in out
    assert "appeared in" in out
    assert "1 anomaly in 3,000 events" in out
    assert b"rate and silence are off" in done.stderr


def test_every_way_in_says_the_same(log: bytes, tmp_path: Path) -> None:
    said = []
    for name, data in (("a.log", log), ("a.log.gz", gzip.compress(log)), ("a.log.zst", zstandard.compress(log))):
        (tmp_path / name).write_bytes(data)
        said.append(scan("--json", str(tmp_path / name)).stdout.replace(str(tmp_path / name).encode(), b"FILE"))
    said.append(scan("--json", "-", stdin=log).stdout.replace(b'"file":"-"', b'"file":"FILE"'))
    assert said[0]
    assert said == [said[0]] * 4


def test_a_quiet_file_ends_with_zero(tmp_path: Path) -> None:
    file = tmp_path / "quiet.log"
    file.write_bytes(b"\n".join(lines(2000, 3)))
    done = scan(str(file))
    assert (done.returncode, done.stdout) == (0, b"no anomalies in 2,000 events\n")


def test_json_findings_have_their_fields(json_log: bytes, tmp_path: Path) -> None:
    file = tmp_path / "app.jsonl"
    file.write_bytes(json_log)
    done = scan("--json", "--event-field", "event", "--stream-field", "series", "--time-field", "ts", str(file))
    assert done.returncode == 1, done.stderr
    assert done.stderr == b""
    (finding,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert finding["stream"] == "a"
    assert finding["kind"] == "burst"
    assert finding["started_at"] in range(1_700_002_500_000, 1_700_002_520_000)
    assert finding["closed"] is True


def test_scores_are_one_line_an_event_in_order(json_log: bytes, tmp_path: Path) -> None:
    file = tmp_path / "app.jsonl"
    file.write_bytes(json_log)
    done = scan("--scores", "--event-field", "event", "--stream-field", "series", "--time-field", "ts", str(file))
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    series = [json.loads(line)["series"] for line in json_log.splitlines()]
    assert len(rows) == len(series)
    assert all(0 < row["p_value"] <= 1 and row["score"] >= 0 for row in rows)
    assert {row["episode"] for row in rows if row["anomaly"]} == {"a/1"} or all(
        row["episode"].startswith("a/") for row in rows if row["anomaly"]
    )
    assert any(row["anomaly"] for row in rows)
    assert all(row["episode"] is None for row in rows if not row["anomaly"])
    alone = b"\n".join(line for line, s in zip(json_log.splitlines(), series, strict=True) if s == "a")
    file.write_bytes(alone)
    apart = scan(
        "--scores", "--event-field", "event", "--stream-field", "series", "--time-field", "ts", str(file)
    ).stdout
    assert apart.splitlines() == [line for line, s in zip(done.stdout.splitlines(), series, strict=True) if s == "a"]


def test_a_window_leaves_out_what_began_before(log: bytes, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_bytes(log)
    assert scan("--window", "1000", str(file)).returncode == 1
    assert scan("--window", "100", str(file)).returncode == 0


def test_an_event_can_not_steer_the_terminal(tmp_path: Path) -> None:
    steady = lines(N, 17)
    steady[AT : AT + 100] = [b"\x1b[2J\x07 ERROR connection refused by database primary \xff"] * 100
    file = tmp_path / "app.log"
    file.write_bytes(b"\n".join(steady))
    done = scan(str(file))
    assert done.returncode == 1
    assert b"\x1b" not in done.stdout
    assert b"\x07" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        ([], b"", b"needs a file"),
        (["nosuch.log"], b"", b"nosuch.log can't be read: No such file"),
        (["--sensitivity", "2", "-"], b"", b"number from 0 to 1"),
        (["--window", "0", "-"], b"", b"1 or more"),
        (["--json", "--scores", "-"], b"", b"can't be given together"),
        (["--event-field", "e", "-"], b'{"e": "x"}\nno json\n', b"-, line 2 is not JSON"),
        (["--event-field", "e", "-"], b'{"f": "x"}\n', b"has no field 'e'; it has f"),
        (["--event-field", "e", "-"], b"[1]\n", b"is not a JSON object"),
        (["--time-field", "t", "-"], b'{"t": "yesterday"}\n', b"give seconds since 1970 or an ISO 8601 time"),
    ],
)
def test_an_error_is_one_line_and_exit_code_two(arguments: list[str], stdin: bytes, said: bytes) -> None:
    done = scan(*arguments, stdin=stdin)
    assert done.returncode == 2
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["broken.gz", "broken.zst"])
def test_a_damaged_archive_is_an_error(name: str, tmp_path: Path, log: bytes) -> None:
    data = gzip.compress(log) if name.endswith("gz") else zstandard.compress(log)
    (tmp_path / name).write_bytes(b"junk" + data)
    done = scan(str(tmp_path / name))
    assert done.returncode == 2
    assert b"can't be read" in done.stderr
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    assert scan(str(tmp_path / name)).returncode == 2


def test_a_damaged_block_of_gzip_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "f.gz").write_bytes(gzip.compress(b"")[:10] + b"\xff" * 20)
    with pytest.raises(read.ScanInput, match="invalid block type"):
        list(read.lines((str(tmp_path / "f.gz"),)))


def test_a_bomb_costs_no_memory(tmp_path: Path) -> None:
    blocks = 20_000  # of 128 KiB each, 2.4 GiB in all: a run of one byte is four bytes long when packed
    bomb = tmp_path / "bomb.zst"
    bomb.write_bytes(b"\x28\xb5\x2f\xfd\x00\x58" + b"\x02\x00\x10x" * blocks)
    most = 0
    with read._open(str(bomb), lambda _: None) as stream:
        for _ in range(30):
            most = max(most, len(stream.read(1 << 20)))
    assert 1 << 20 <= most <= 10 << 20
