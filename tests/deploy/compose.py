"""docker-compose.yml as a test reads it: merged, and with the variables of a new .env in their places."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def new_env(path: Path) -> dict[str, str]:
    """The variables that deploy/new-env writes."""
    subprocess.run([ROOT / "deploy" / "new-env", path], check=True, capture_output=True)
    lines = (line for line in path.read_text("ascii").splitlines() if not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def read(variables: dict[str, str]) -> dict[str, Any]:
    """The file, interpolated. KeyError for a required variable that is not given."""
    found: dict[str, Any] = _filled(yaml.safe_load(FILE.read_text("utf-8")), variables)
    return found


def _filled(value: Any, variables: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    return _VARIABLE.sub(lambda m: _variable(m, variables), value) if isinstance(value, str) else value


def _variable(found: re.Match[str], variables: dict[str, str]) -> str:
    name, kind, other = found.groups()
    if variables.get(name):
        return variables[name]
    if kind != "-":
        raise KeyError(f"{name}: {other}")
    return str(other)
