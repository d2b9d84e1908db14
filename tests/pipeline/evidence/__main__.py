"""`make evidence-check`: random bundles verify, random changes of one byte are caught and named. Prints one JSON line; exit code 1 otherwise."""

import argparse
import itertools
import random
import sys
from collections import Counter
from collections.abc import Iterator

import orjson

from pipeline.evidence import keys
from pipeline.evidence.verify import verify
from schemas.models import Anomaly
from tests.pipeline.evidence import cases
from tests.pipeline.evidence.cases import Case
from tests.pipeline.evidence.test_verify import bad, part_at

KEPT = 200


def _world(seed: int) -> Iterator[Case]:
    """Bundles of a world in which nothing is said, of one in which much is, or of one that speaks of each episode."""
    if seed % 3 == 0:
        return cases.cases(seed, 3_000)
    return cases.of((cases.spoken if seed % 3 == 1 else cases.interrupted)(seed, 3_000), seed)


def main() -> int:
    """Bundles of ever new worlds until there are enough; then changes on the first of them in turn."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundles", type=int, default=1_000)
    parser.add_argument("--changes", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    trust = {keys.public(cases.KEY)}
    kinds: Counter[str] = Counter()
    kept: list[bytes] = []
    refused = 0
    worlds = itertools.chain.from_iterable(_world(asked.seed + n) for n in itertools.count())
    for case in itertools.islice(worlds, asked.bundles):
        kinds[Anomaly.from_bytes(case.told[-1]).kind] += 1
        if case.bundle.anomaly != case.told or not verify(case.sealed, trust).good:
            refused += 1
        if len(kept) < KEPT:
            kept.append(case.sealed)
    rng = random.Random(asked.seed)
    missed = 0
    for sealed in itertools.islice(itertools.cycle(kept), asked.changes):
        at = rng.randrange(len(sealed))
        changed = bytearray(sealed)
        changed[at] ^= rng.randrange(1, 256)
        missed += not bad(verify(bytes(changed), trust)) & part_at(sealed, at)
    said = {
        "bundles": asked.bundles,
        "not verified": refused,
        "changes": asked.changes,
        "not caught": missed,
        "kinds": dict(kinds),
        "bytes": sum(map(len, kept)) // max(1, len(kept)),
    }
    sys.stdout.buffer.write(orjson.dumps(said) + b"\n")
    return 1 if refused or missed else 0


if __name__ == "__main__":
    sys.exit(main())
