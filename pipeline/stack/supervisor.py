"""Children watched: one that dies is shown and started again, later each time it dies soon."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pipeline.embedded import process
from pipeline.embedded.process import Child
from pipeline.stack.processes import Program

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 60.0


@dataclass
class Watched:
    """A program with its present child; `started_at` and `restart_at` in seconds of the clock given."""

    program: Program
    child: Child
    started_at: float
    deaths: int = 0
    pause: float = FIRST_PAUSE_S
    restart_at: float | None = None
    last_words: str = ""


@dataclass
class Supervisor:
    """All watched programs; `spawn` starts one."""

    spawn: Callable[[Program], Child]
    watched: list[Watched] = field(default_factory=list)


def start(supervisor: Supervisor, programs: Iterable[Program], now: float) -> None:
    """Start programs and watch them from now on."""
    for program in programs:
        supervisor.watched.append(Watched(program, supervisor.spawn(program), now))


def check(supervisor: Supervisor, now: float) -> list[str]:
    """Note who died, restart who is due; one line for each of both."""
    said = []
    for one in supervisor.watched:
        if one.restart_at is None:
            if one.child.alive():
                continue
            if now - one.started_at >= STEADY_AFTER_S:
                one.pause = FIRST_PAUSE_S
            one.deaths += 1
            one.restart_at = now + one.pause
            one.last_words = process.tail(one.child.log)
            said.append(
                f"{one.program.name} ended with {one.child.popen.returncode}, again in {one.pause:.0f} s: {one.last_words}"
            )
            one.pause = min(LONGEST_PAUSE_S, 2 * one.pause)
        elif now >= one.restart_at:
            one.child, one.started_at, one.restart_at = supervisor.spawn(one.program), now, None
            said.append(f"{one.program.name} started again")
    return said


def stop(supervisor: Supervisor) -> None:
    """Stop all, the last started first."""
    for one in reversed(supervisor.watched):
        process.stop(one.child, grace_s=5.0)
    supervisor.watched.clear()
