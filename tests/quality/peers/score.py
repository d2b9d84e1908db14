"""`python -m tests.quality.peers.score PEER FILE`, by the peers' own interpreter: one {"score"} a line, in the order of the file.

Strictly online: an event's score depends on earlier events of its series alone.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import orjson

Scorer = Callable[[], Callable[[object], float]]
PEERS = {
    "Drain3 rarity": ("drain", "rarity"),
    "Drain3 strict": ("drain", "strict"),
    "half-space trees": ("trees", "half_space"),
    "isolation forest": ("forest", "isolation"),
    "zstd ratio z-score": ("ratio", "zstd_ratio"),
    "byte PPM": ("ppm", "ppm"),
}
"""Each with its module, so that one peer's libraries need not be loaded for another."""
IN_BLOCKS = {"isolation forest"}


def scores(peer: str, events: list[object], series: list[str]) -> list[float]:
    """The peer's score of each event, every series by a scorer of its own."""
    module, name = PEERS[peer]
    make = getattr(import_module(f"tests.quality.peers.{module}"), name)
    if peer not in IN_BLOCKS:
        scorers = {s: make() for s in dict.fromkeys(series)}
        return [float(scorers[s](event)) for event, s in zip(events, series, strict=True)]
    found = [0.0] * len(events)
    for s in dict.fromkeys(series):
        members = [i for i, other in enumerate(series) if other == s]
        for i, value in zip(members, make([events[i] for i in members]), strict=True):
            found[i] = value
    return found


def main() -> int:
    """Read, score, print."""
    peer, file = sys.argv[1:]
    rows = [orjson.loads(line) for line in Path(file).read_bytes().splitlines()]
    found = scores(peer, [r["event"] for r in rows], [r["series"] for r in rows])
    sys.stdout.write("".join(f'{{"score":{value!r}}}\n' for value in found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
