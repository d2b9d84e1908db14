"""One parser fuzzed for some seconds, guided by coverage: atheris, which is libFuzzer for Python. See README.md.

`python -m tests.fuzz.guided NAME SECONDS FOLDER` prints one JSON object when its time is over, or when a law breaks; then the
input lies in FOLDER/found. What ends the process otherwise (a signal, libFuzzer's limits of 20 s and 4 GiB) leaves it there too.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import atheris

PARSING = [
    "schemas",
    "billing",
    "pipeline.api",
    "pipeline.evidence",
    "pipeline.lines",
    "pipeline.packer",
    "pipeline.scan",
]
"""Instrumented. Not what scores: atheris 3.0.0 changes what `pipeline.worker` gives, and kernels are compiled."""

with atheris.instrument_imports(include=PARSING, enable_loader_override=False):
    from tests.fuzz.laws import Broken, Parser, check, resident
    from tests.fuzz.parsers import PARSERS

MAX_LENGTH = 64 << 10
MAX_GROWTH = 128 << 20


def main(name: str, seconds: float, folder: Path) -> None:
    """Fuzz one parser; does not return."""
    parser = PARSERS[name]
    corpus, found = folder / "corpus" / name, folder / "found"
    for one in (corpus, found):
        one.mkdir(parents=True, exist_ok=True)
    for seed in parser.seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-max_len={MAX_LENGTH}",
            f"-artifact_prefix={found}/{name}-",
            "-timeout=20",
            "-rss_limit_mb=4096",
            "-print_final_stats=0",
            "-verbosity=0",
        ],
        _watched(name, parser, seconds, found),
        enable_python_coverage=True,
    )
    atheris.Fuzz()


def _watched(name: str, parser: Parser, seconds: float, found: Path) -> Any:
    began = time.monotonic()
    said: dict[str, Any] = {
        "name": name,
        "inputs": 0,
        "accepted": 0,
        "seconds": seconds,
        "most_calls_a_byte": 0.0,
        "slowest_ms": 0.0,
        "slowest_bytes": 0,
        "rss_first_quarter_mib": 0,
    }

    def finish(error: str) -> None:
        said["rss_mib"] = resident() >> 20
        grown = said["rss_mib"] - (said["rss_first_quarter_mib"] or said["rss_mib"])
        said["error"] = error or (f"memory grew by {grown} MiB" if grown > MAX_GROWTH >> 20 else "")
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        os._exit(1 if said["error"] else 0)  # libFuzzer would go on

    def one(data: bytes) -> None:
        began_cpu = time.process_time()
        try:
            calls, accepted = check(parser, data)
        except Broken as error:
            path = found / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}"
            path.write_bytes(data)
            finish(f"{error} ({path.name}, {len(data)} bytes)")
        took = 1_000 * (time.process_time() - began_cpu)
        said["inputs"] += 1
        said["accepted"] += accepted
        if len(data) >= 1_000:
            said["most_calls_a_byte"] = max(said["most_calls_a_byte"], round(calls / len(data), 2))
        if took > said["slowest_ms"]:
            said["slowest_ms"], said["slowest_bytes"] = round(took, 1), len(data)
        passed = time.monotonic() - began
        if not said["rss_first_quarter_mib"] and passed > seconds / 4:
            said["rss_first_quarter_mib"] = resident() >> 20
        if passed > seconds:
            finish("")

    return one


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]))
