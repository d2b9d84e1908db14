"""A folder for one run at a time: emptied when it is claimed, so that nothing of an earlier run is mistaken for this one's."""

import fcntl
import shutil
from pathlib import Path
from typing import IO

from schemas.errors import DriftlockError


class FolderInUse(DriftlockError):
    """Another run uses this folder."""


def claim(folder: Path) -> IO[str]:
    """Empty `folder` and hold it until the file that is returned is closed, or this process ends; else `FolderInUse`."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder.parent / f"{folder.name}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise FolderInUse(f"another run uses {folder}: stop it, or give another folder") from error
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return lock
