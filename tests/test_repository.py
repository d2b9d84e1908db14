"""What holds for the repository as a whole: its layout, its dependencies, its size, and what must never be in it."""

import ast
import re
import subprocess
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {"pipeline", "detectors", "billing", "schemas", "dashboards", "deploy", "tests"}
PACKAGES = ("pipeline", "detectors", "billing", "schemas", "dashboards")
MOST_LINES = 400

GIVEN = {  # distribution → the module by which it is used
    "confluent-kafka": "confluent_kafka",
    "faust-streaming": "faust",
    "numpy": "numpy",
    "opentelemetry-instrumentation": "opentelemetry.instrumentation",
    "prometheus-client": "prometheus_client",
    "psycopg": "psycopg",
    "pydantic": "pydantic",
    "pytest": "pytest",
    "stripe": "stripe",
    "testcontainers": "testcontainers",
    "zstandard": "zstandard",
}

FORBIDDEN = {  # what → a pattern, written so that this file does not match it
    "a path of someone's machine": r"(?<![\w./-])/(?:root|home/[a-z]\w*|Users/\w+|work)/",
    "a registry's host": r"(?:pypi|pythonhosted|maven|proxy\.golang|npmjs|crates)\.(?:org|io|com)\b|\brepo\d?\.maven\b|deb\.debian\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE" + r" KEY-----",
    "a live Stripe key": r"\b[rs]k_live_[A-Za-z0-9]{16,}",
}


def _tracked() -> list[Path]:
    """Files that git tracks or would track, relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted(Path(name) for name in listed if name and (ROOT / name).is_file())


TRACKED = _tracked()
PYTHON = [path for path in TRACKED if path.suffix == ".py"]


def test_the_top_level_is_the_given_one() -> None:
    found = {path.parts[0] for path in TRACKED if len(path.parts) > 1 and not path.parts[0].startswith(".")}
    assert found <= FOLDERS


def test_every_folder_says_what_it_owns() -> None:
    folders = {parent for path in PYTHON for parent in path.parents if parent != Path()}
    folders = {folder for folder in folders if folder.parts[0] in FOLDERS and _is_a_subject(folder)}
    assert [str(folder) for folder in sorted(folders) if folder / "README.md" not in TRACKED] == []


def _is_a_subject(folder: Path) -> bool:
    """Every folder but those of tests, which mirror the tree: there the top one speaks for all."""
    return folder.parts[0] != "tests" or len(folder.parts) == 1


@pytest.mark.parametrize("distribution", sorted(GIVEN))
def test_every_given_package_is_a_direct_dependency_that_is_really_used(distribution: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    assert distribution in {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in wanted}
    module = GIVEN[distribution]
    users = [str(path) for path in PYTHON if path.name != Path(__file__).name and module in _imported(path)]
    assert users, f"nothing imports {module}"


def _imported(path: Path) -> set[str]:
    """Every module that a file imports, and every package above each."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {".".join(name.split(".")[:depth]) for name in found for depth in range(1, name.count(".") + 2)}


def test_no_installed_package_has_a_name_of_ours() -> None:
    installed = packages_distributions()
    assert {name: installed[name] for name in (*PACKAGES, "tests", "deploy") if name in installed} in (
        {},  # an editable install lists no package
        {name: ["driftlock"] for name in PACKAGES},
    )


def test_no_file_has_a_second_subject() -> None:
    lines = {str(path): len((ROOT / path).read_text("utf-8").splitlines()) for path in PYTHON}
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}


@pytest.mark.parametrize("what", sorted(FORBIDDEN))
def test_nothing_is_in_it_that_belongs_to_a_machine_or_to_nobody(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = []
    for path in TRACKED:
        content = (ROOT / path).read_bytes()
        if b"\0" not in content[:4096] and path.suffix not in {".zst", ".gz"}:
            text = content.decode("utf-8", "replace")
            found += [f"{path}: {match[0]}" for match in pattern.finditer(text)]
    assert found == []


def test_every_target_of_the_makefile_is_described() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.MULTILINE))
    described = set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))
    assert targets == described


def test_what_is_run_can_be_run() -> None:
    scripts = [
        path for path in TRACKED if path.parts[:1] == ("deploy",) and (ROOT / path).read_bytes().startswith(b"#!")
    ]
    for path in (ROOT / ".ci" / "run", *(ROOT / script for script in scripts)):
        assert path.stat().st_mode & 0o111
        subprocess.run(["bash", "-n", path], check=True)
