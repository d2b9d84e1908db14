"""A child that dies is shown and comes back; the pause doubles while it keeps dying."""

import sys
from pathlib import Path

from pipeline.embedded import process
from pipeline.stack import supervisor
from pipeline.stack.processes import Program
from pipeline.stack.supervisor import Supervisor

BROKEN = Program("broken", ())


def test_a_dying_child_comes_back_after_a_growing_pause(tmp_path: Path) -> None:
    def spawn(program: Program) -> process.Child:
        child = process.start(program.name, [sys.executable, "-c", "raise SystemExit('no luck')"], log=tmp_path / "log")
        child.popen.wait(30)
        return child

    watch = Supervisor(spawn)
    supervisor.start(watch, [BROKEN], now=0.0)
    (said,) = supervisor.check(watch, now=1.0)
    assert "broken ended with 1, again in 1 s" in said
    assert "no luck" in said
    assert supervisor.check(watch, now=1.5) == []
    assert supervisor.check(watch, now=2.0) == ["broken started again"]
    (said,) = supervisor.check(watch, now=2.1)
    assert "again in 2 s" in said
    assert watch.watched[0].deaths == 2


def test_a_living_child_is_left_alone_and_stopped_at_the_end(tmp_path: Path) -> None:
    def spawn(program: Program) -> process.Child:
        return process.start(program.name, [sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "log")

    watch = Supervisor(spawn)
    supervisor.start(watch, [BROKEN], now=0.0)
    child = watch.watched[0].child
    assert supervisor.check(watch, now=5.0) == []
    supervisor.stop(watch)
    assert not child.alive()
