"""Our processes as children that die where they are told to, and come back."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.embedded import process
from pipeline.embedded.process import Child
from pipeline.stack import processes
from pipeline.stack.components import Components
from pipeline.stack.processes import Program


@dataclass
class Member:
    """A program, its child, and the crash points it has yet to die at."""

    program: Program
    child: Child
    crashes: deque[str]
    died_at: list[str] = field(default_factory=list)
    pending: str = ""


@dataclass
class Fleet:
    """All members of one stack."""

    components: Components
    members: list[Member] = field(default_factory=list)


def launch(fleet: Fleet, program: Program, crash_at: str = "", **settings: str) -> Child:
    """A child of a program, not restarted by `tend`."""
    environ = {**fleet.components.environ_of(program), "METRICS_PORT": "0", "DRIFTLOCK_CRASH_AT": crash_at, **settings}
    return processes.start(program, environ, fleet.components.logs)


def enlist(fleet: Fleet, program: Program, crashes: Iterable[str] = ()) -> Member:
    """Start a program that dies once at each of `crashes`, in this order."""
    waiting = deque(crashes)
    pending = waiting.popleft() if waiting else ""
    member = Member(program, launch(fleet, program, pending), waiting, pending=pending)
    fleet.members.append(member)
    return member


def tend(fleet: Fleet) -> None:
    """Restart who died by a crash point or by our hand (-9); anyone who ended otherwise is a failure."""
    for member in fleet.members:
        code = member.child.popen.poll()
        if code is None:
            continue
        assert code == -9, f"{member.program.name} ended with {code}: {process.tail(member.child.log, 5)}"
        if member.pending:
            member.died_at.append(member.pending)
        member.pending = member.crashes.popleft() if member.crashes else ""
        member.child = launch(fleet, member.program, member.pending)


def all_died(fleet: Fleet) -> bool:
    """Whether every crash point was hit."""
    return not any(member.pending or member.crashes for member in fleet.members)


def disband(fleet: Fleet) -> None:
    """Stop all."""
    for member in fleet.members:
        process.stop(member.child, grace_s=3.0)
    fleet.members.clear()
