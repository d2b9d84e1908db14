"""Children end with us, however we end, and say why they failed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.embedded import process
from schemas.errors import ComponentFailed

PARENT = """
import sys, threading, time
from pathlib import Path
from pipeline.embedded import process

def start():
    print(process.start("child", ["sleep", "300"], log=Path(sys.argv[1])).pid, flush=True)

thread = threading.Thread(target=start)
thread.start()
thread.join()
print("the thread that started it is gone", flush=True)
time.sleep(300)
"""


def test_a_child_dies_with_its_parent_and_not_with_the_thread_that_started_it(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert parent.stdout is not None
    with parent:
        child = int(parent.stdout.readline())
        assert "gone" in parent.stdout.readline()
        assert _runs(child)
        parent.kill()
    _until(lambda: not _runs(child))


def test_stop_asks_first(tmp_path: Path) -> None:
    child = process.start("sleep", ["sleep", "300"], log=tmp_path / "log")
    assert child.alive()
    assert process.stop(child) == -signal.SIGTERM
    assert not child.alive()


def test_stop_ends_what_does_not_listen_with_its_whole_group(tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 300 & echo $!; wait; wait"
    child = process.start("deaf", ["sh", "-c", script], log=tmp_path / "log")
    process.wait_ready(child, lambda: child.log.read_text().strip() != "", timeout_s=10)
    grandchild = int(child.log.read_text())
    assert process.stop(child, grace_s=0.2) == -signal.SIGKILL
    _until(lambda: not _runs(grandchild))


def test_a_child_that_ends_instead_of_being_ready_is_told_with_its_last_words(tmp_path: Path) -> None:
    child = process.start("broken", ["sh", "-c", "echo starting; echo no such disk >&2; exit 3"], log=tmp_path / "log")
    with pytest.raises(ComponentFailed, match=r"broken ended with 3: no such disk \(log: .*log\)"):
        process.wait_ready(child, lambda: False, timeout_s=30)


def test_a_child_that_is_never_ready_is_told(tmp_path: Path) -> None:
    child = process.start("slow", ["sleep", "300"], log=tmp_path / "log")
    try:
        with pytest.raises(ComponentFailed, match="slow is not ready after 0 s: nothing was logged"):
            process.wait_ready(child, lambda: False, timeout_s=0.1)
    finally:
        process.kill(child)


def test_a_program_that_is_not_there_ends_at_once(tmp_path: Path) -> None:
    child = process.start("nothing", ["/no/such/program"], log=tmp_path / "log")
    assert child.popen.wait(30) != 0
    assert "/no/such/program" in child.log.read_text() or "No such file" in child.log.read_text()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def _until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
