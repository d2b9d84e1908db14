"""Prints a hash of everything the detector says of a made stream; run by test_same_bytes.py in other interpreters."""

import hashlib
import sys
from dataclasses import asdict
from pathlib import Path

if __name__ == "__main__":  # the checkout, when another Python runs this file
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import numpy as np
from streams import block as block_of  # type: ignore[import-not-found]
from streams import metric, mixed, times_of, values

from detectors.detector import Controls, dump, new_state, score
from detectors.state import dump_raw


def digest(n: int) -> str:
    """SHA-256 over scores, updates and state of a log and of a metric; without the sizes that zstd gives, which name their library."""
    sha = hashlib.sha256()
    loads = [v + 10**6 * (i == n - 60) + 200 * (i > n - 30) for i, v in enumerate(values(n, 1))]
    for bodies in (mixed(n), metric(loads)):
        state, results, updates = score(new_state(), block_of(bodies, times_of(n)), None, Controls(1.0, 10_000))
        for column in (results.score, results.channels, results.surprisal, results.reference_n, results.episode):
            sha.update(column.astype("<i8").tobytes())
        for flags in (results.extrapolated, results.duplicate, results.reported):
            sha.update(flags.tobytes())
        for update in updates:
            said = asdict(update)
            said["metrics"] = (update.metrics.entropy, update.metrics.permutation_p, update.metrics.window_raw_bytes)
            sha.update(repr(said).encode())
        if not updates:
            raise SystemExit("a made stream has no episode: it shows nothing")
        dump(state)
        sha.update(dump_raw(state))
    return sha.hexdigest()


if __name__ == "__main__":
    sys.stdout.write((np.__version__ if sys.argv[1] == "version" else digest(int(sys.argv[1]))) + "\n")
