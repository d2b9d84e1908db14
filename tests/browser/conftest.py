"""The browser and the console that the tests of this folder share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import chromium
from tests.browser.console import Console, running

KEPT = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "NUMBA_CACHE_DIR")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium a module; each test has a context of its own in it.

    Not one for all: while it lives, this thread has a running event loop, in which other modules' asyncio.run would fail.
    """
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console without a database: what needs no account works."""
    environ = {name: os.environ[name] for name in KEPT if name in os.environ}
    with running(environ, Path(tmp_path_factory.mktemp("console"))) as one:
        yield one
