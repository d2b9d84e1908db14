"""`make fuzz`: every parser of the outside for some seconds, guided by coverage; one JSON line each, exit code 1 where a law broke."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tests.fuzz.laws import Broken, check
from tests.fuzz.parsers import PARSERS

FOLDER = Path(".driftlock/fuzz")


def main() -> int:
    """The command line; 2 where atheris is not there."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each parser")
    parser.add_argument("--only", choices=PARSERS, help="one parser")
    parser.add_argument("--input", type=Path, help="a file that was found, shown to the parser of --only again")
    given = parser.parse_args()
    if given.input is not None:
        if given.only is None:
            parser.error("--input needs --only: whose input is it?")
        return _again(given.only, given.input)
    return max([_fuzz(name, given.seconds) for name in ([given.only] if given.only else PARSERS)])


def _again(name: str, path: Path) -> int:
    try:
        calls, accepted = check(PARSERS[name], path.read_bytes())
    except (Broken, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps({"name": name, "calls": calls, "accepted": accepted}) + "\n")
    return 0


def _fuzz(name: str, seconds: float) -> int:
    """Run one parser in a process of its own, which may die of its input."""
    command = [sys.executable, "-m", "tests.fuzz.guided", name, str(seconds), str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 300)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if lines:
        sys.stdout.write(lines[-1] + "\n")
    elif "No module named 'atheris'" in done.stderr:
        sys.stderr.write("atheris is missing: run `make fuzz`, which puts it into .driftlock/fuzz/atheris\n")
        return 2
    else:
        last = " | ".join(done.stderr.strip().splitlines()[-6:])[-600:]
        sys.stdout.write(json.dumps({"name": name, "error": f"ended with code {done.returncode}: {last}"}) + "\n")
    sys.stdout.flush()
    return 0 if done.returncode == 0 and lines else 1


if __name__ == "__main__":
    sys.exit(main())
