"""Become another program, tied to the life of the process that started this one. Run as a script by process.py.

It stands between fork and exec, as a program of its own and not as a `preexec_fn`, because code run in a fork of a
threaded process may deadlock. The process id stays the same: the caller signals the program itself.
"""

import ctypes
import json
import os
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000


def _enter_namespace(uid: int, gid: int) -> bool:
    """Appear as `uid`, and keep the file rights of the owner root; False where the kernel refuses."""
    if ctypes.CDLL(None).unshare(CLONE_NEWUSER) != 0:
        return False
    Path("/proc/self/setgroups").write_text("deny", "ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} 0 1", "ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} 0 1", "ascii")
    return True


def _drop(uid: int, gid: int) -> None:
    """Be `uid` for good."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def main(argv: list[str]) -> None:
    """argv: JSON of {parent, death_signal, uid?, gid?, namespace?}, then the program and its arguments."""
    how = json.loads(argv[0])
    if "uid" in how:
        if not how["namespace"]:
            _drop(how["uid"], how["gid"])
        elif not _enter_namespace(how["uid"], how["gid"]):
            sys.exit("this kernel gives no user namespace")
    if sys.platform == "linux":  # after the change of user, which would clear it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, how["death_signal"], 0, 0, 0)
        if os.getppid() != how["parent"]:
            sys.exit("the parent is gone")
    os.execvp(argv[1], argv[1:])  # noqa: S606 there is no shell


if __name__ == "__main__":
    main(sys.argv[1:])
