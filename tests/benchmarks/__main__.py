"""`make bench`: every figure of the pipeline beside a peer measured in the same run; exits 1 below a mark.

Prints a table and one JSON object a line on standard output, progress on standard error. See README.md.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

from confluent_kafka import KafkaException
from rich.console import Console

from pipeline.embedded import kafka
from schemas.errors import DriftlockError
from tests.benchmarks.figures import show
from tests.benchmarks.runs import Sizes
from tests.benchmarks.suite import QUICK, measure


def main() -> int:
    """The command line; 0, 1 where a mark is missed or a figure is void, 2 where it could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a small run that shows that it works; its figures say little"
    )
    parser.add_argument("--rounds", type=int, help="measurements of each figure, of which the median is told")
    given = parser.parse_args()
    sizes = QUICK if given.quick else Sizes()
    if given.rounds:
        sizes = replace(sizes, rounds=given.rounds)
    progress = partial(Console(stderr=True, highlight=False).print, soft_wrap=True)
    try:
        with tempfile.TemporaryDirectory(prefix="driftlock-bench-") as name:
            broker = kafka.new(Path(name) / "broker")
            try:
                broker.start()
                figures = measure(broker, Path(name), sizes, progress)
            finally:
                broker.stop()
    except (DriftlockError, KafkaException) as error:
        sys.stderr.write(f"make bench: {error}\n")
        return 2
    show(figures, Console(width=None if sys.stdout.isatty() else 160))
    missed = [line for figure in figures if (line := figure.missed())]
    for line in missed:
        sys.stderr.write(f"below the mark: {line}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
