"""Named crash points: where a test makes a process kill itself, as kill -9 would."""

import os
import signal

# The name may hold colons itself ("packer:after-send:3"): the count is what follows the last one, if it is a number.
_GIVEN = os.environ.get("DRIFTLOCK_CRASH_AT", "")
if _GIVEN.rpartition(":")[2].isdigit():
    _NAME, _, _COUNT = _GIVEN.rpartition(":")
else:
    _NAME, _COUNT = _GIVEN, "1"
_left = int(_COUNT)


def crash_point(name: str) -> None:
    """Kill this process with SIGKILL when DRIFTLOCK_CRASH_AT is `name`, or `name:3` for the third time it comes here."""
    global _left  # noqa: PLW0603
    if name == _NAME:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
