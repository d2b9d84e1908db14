"""`make quality-peers`: the peers and our detector on the same files in the same run, one table; run by our own interpreter.

A peer only has a score. Its p-value is the score's rank among the last 4,096 of its series, and it decides by p <= 1/1000 once
1,000 scores are there; decisions with at most 64 events between them are one episode. See tests/quality/README.md.
"""

import argparse
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from schemas.errors import DriftlockError
from tests.quality import everyday, figures
from tests.quality.judge import Scorer, detector, heading, judge, line, run
from tests.quality.labelled import Labelled, read
from tests.quality.measures import CALM, Answers
from tests.quality.peers.score import PEERS
from tests.quality.shared import DATA

LAST, LEAST, LEVEL = 4096, 1000, 0.001
OURS = "driftlock"


def ranked(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[n]: (1 + number at least as large among the last LAST) / (1 + their number), each event against earlier ones."""
    p = np.ones(len(score))
    for i in range(1, len(score)):
        past = score[max(0, i - LAST) : i]
        p[i] = (1 + np.count_nonzero(past >= score[i])) / (1 + len(past))
    return p


def decided(stream: Labelled, score: NDArray[np.float64]) -> Answers:
    """A peer's answers from its scores alone."""
    p, alarm = np.ones(len(score)), np.zeros(len(score), bool)
    episode: list[str | None] = [None] * len(score)
    names = np.array(stream.series)
    for name in dict.fromkeys(stream.series):
        members = np.flatnonzero(names == name)
        p[members] = ranked(score[members])
        low = [k for k in np.flatnonzero(p[members] <= LEVEL).tolist() if k >= LEAST]
        number, last = 0, -CALM - 1
        for k in low:
            number += k - last > CALM
            last = k
            alarm[members[k]], episode[members[k]] = True, f"{name}/{number}"
    return Answers(score, p, alarm, episode)


def peer_scorer(python: Path, peer: str, stream: Labelled) -> tuple[Answers, float]:
    """The answers of a peer, by the interpreter of the peers' environment."""
    lines, cpu = run([str(python), "-m", "tests.quality.peers.score", peer], stream)
    return decided(stream, np.array([orjson.loads(answer)["score"] for answer in lines], np.float64)), cpu


def streams(names: list[str], data: Path) -> list[Labelled]:
    """The everyday streams and those of the shared folder, or those of them that are named."""
    files = {f.name.removesuffix(".jsonl.zst"): f for f in sorted(data.glob("*.jsonl.zst"))} if data.is_dir() else {}
    wanted = names or [*everyday.STREAMS, *files]
    if unknown := [n for n in wanted if n not in everyday.STREAMS and n not in files]:
        raise DriftlockError(f"no such stream: {', '.join(unknown)}")
    return [read(files[n]) if n in files else everyday.stream(n) for n in wanted]


def main() -> int:
    """Print a table for each stream; with --accept the average precisions become the committed ones."""
    parser = argparse.ArgumentParser(prog="python -m tests.quality.peers", description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="the interpreter of the peers' environment")
    parser.add_argument("--data", type=Path, default=DATA, help="a folder of labelled streams, measured too")
    parser.add_argument("--streams", default="", help="comma separated; default: all")
    parser.add_argument("--peers", default="", help="comma separated; default: all")
    parser.add_argument("--accept", action="store_true")
    given = parser.parse_args()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # the peers' own
    found: dict[str, dict[str, float]] = {}
    peers = given.peers.split(",") if given.peers else list(PEERS)
    scorers: dict[str, Scorer] = {OURS: detector} | {p: partial(peer_scorer, given.python, p) for p in peers}
    try:
        for stream in streams([n for n in given.streams.split(",") if n], given.data):
            sys.stdout.write(f"\n{heading()}\n{stream.name}\n")
            for name, scorer in scorers.items():
                row = judge(stream, scorer).row
                sys.stdout.write(line(f"  {name}", row) + "\n")
                sys.stdout.flush()
                if name != OURS:
                    found.setdefault(stream.name, {})[name] = round(row["AP"], 4)
    except DriftlockError as error:
        sys.stderr.write(f"quality-peers: {error}\n")
        return error.exit_code
    if given.accept:
        known = figures.read()  # only now: a run takes long, and another may have been accepted meanwhile
        for name, row in found.items():
            known["peers"][name] = known["peers"].get(name, {}) | row
        figures.write(known)
        figures.put("average precision", figures.average_precisions(known))
    return 0


if __name__ == "__main__":
    sys.exit(main())
