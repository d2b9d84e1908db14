"""Same events, same bytes: with other CPU features, interpreted, and (DRIFTLOCK_OTHER_PYTHON) with another numpy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DIGEST = str(Path(__file__).with_name("digest.py"))
SHORT, LONG = "700", "4000"


def digest(n: str, python: str = sys.executable, **environment: str) -> str:
    done = subprocess.run(
        [python, DIGEST, n], env=os.environ | environment, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def here() -> dict[str, str]:
    return {n: digest(n) for n in (SHORT, LONG)}


def test_without_vector_instructions(here: dict[str, str]) -> None:
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    features = " ".join(f for f in __cpu_dispatch__ if __cpu_features__.get(f))
    assert digest(LONG, NPY_DISABLE_CPU_FEATURES=features, NUMBA_CPU_NAME="generic") == here[LONG]


def test_interpreted(here: dict[str, str]) -> None:
    assert digest(SHORT, NUMBA_DISABLE_JIT="1", PYTHONWARNINGS="error::RuntimeWarning") == here[SHORT]


def test_another_python(here: dict[str, str]) -> None:
    other = os.environ.get("DRIFTLOCK_OTHER_PYTHON", sys.executable)
    assert digest(LONG, other) == here[LONG]
