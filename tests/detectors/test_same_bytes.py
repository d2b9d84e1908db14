"""Same events, same bytes: with other CPU features, interpreted, and with another numpy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.embedded import components
from schemas.errors import ComponentMissing
from tests.stack.providers import needed

DIGEST = str(Path(__file__).with_name("digest.py"))
SHORT, LONG = "700", "4000"


def digest(n: str, **environment: str) -> str:
    """What digest.py prints for `n` events, or numpy's version for "version"."""
    done = subprocess.run(
        [sys.executable, DIGEST, n],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def here() -> dict[str, str]:
    return {n: digest(n) for n in (SHORT, LONG)}


def test_without_vector_instructions(here: dict[str, str]) -> None:
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__  # type: ignore[import-not-found]

    features = " ".join(f for f in __cpu_dispatch__ if __cpu_features__.get(f))
    assert digest(LONG, NPY_DISABLE_CPU_FEATURES=features, NUMBA_CPU_NAME="generic") == here[LONG]


def test_interpreted(here: dict[str, str]) -> None:
    assert digest(SHORT, NUMBA_DISABLE_JIT="1", PYTHONWARNINGS="error::RuntimeWarning") == here[SHORT]


def test_another_numpy(here: dict[str, str]) -> None:
    def folder() -> Path:
        if found := components.other_numpy():
            return found
        raise ComponentMissing("another numpy is missing: run `make components`")

    other = {"PYTHONPATH": str(needed(folder))}
    versions = {digest("version", **more) for more in ({}, other)}
    assert len(versions) == 2, f"the same numpy twice: {versions}"
    assert digest(LONG, **other) == here[LONG]
