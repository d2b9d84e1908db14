"""Five stationary processes, made by whole blocks, so that ten million events take minutes: nothing in them is an anomaly.

Each draws every event from one law that never changes (given the hidden state, where it has one, which itself is stationary).
A process and a seed give one stream, and a longer stream begins with the shorter one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from detectors.detector import Events

BLOCK = 1 << 15
START_MS = 1_780_000_000_000
Rng = np.random.Generator
Longs = NDArray[np.int64]


@dataclass(frozen=True)
class Pieces:
    """Byte strings by number: all one after another, where each begins, and how long it is."""

    data: NDArray[np.uint8]
    begins: Longs
    lengths: Longs

    @staticmethod
    def of(texts: list[str]) -> "Pieces":
        """The pieces in the order given."""
        lengths = np.array([len(t) for t in texts], np.int64)
        data = np.frombuffer("".join(texts).encode("ascii"), np.uint8)
        return Pieces(data, np.cumsum(lengths) - lengths, lengths)


Column = tuple[Pieces, Longs]
"""A piece for each event, by number."""
Part = str | Column


def joined(parts: list[Part], gaps_ms: Longs, first_ms: int, first: int) -> Events:
    """A block whose event i is the concatenation of its parts; no Python loop over events."""
    n = len(gaps_ms)
    columns = [(Pieces.of([p]), np.zeros(n, np.int64)) if isinstance(p, str) else p for p in parts]
    bases = np.cumsum([0, *(len(pieces.data) for pieces, _ in columns[:-1])])
    data = np.concatenate([pieces.data for pieces, _ in columns])
    begins = np.column_stack(
        [pieces.begins[i] + base for (pieces, i), base in zip(columns, bases, strict=True)]
    ).ravel()
    lengths = np.column_stack([pieces.lengths[i] for pieces, i in columns]).ravel()
    ends = np.cumsum(lengths)
    index = np.repeat(begins - (ends - lengths), lengths) + np.arange(int(ends[-1]))
    offsets = np.r_[0, ends[len(columns) - 1 :: len(columns)]]
    return Events(
        data[index], offsets, first_ms + np.cumsum(gaps_ms), np.zeros(n, np.uint64), lambda i: b"%d" % (first + i)
    )


_BELOW_10_000 = Pieces.of([str(i) for i in range(10_000)])
_PADDED = Pieces.of(["", *(f"{i:04d}" for i in range(10_000))])
_HUNDREDTHS = Pieces.of([f".{i:02d}" for i in range(100)])


def whole(value: Longs) -> list[Part]:
    """Parts that spell whole numbers from 0 to 99,999,999."""
    value = np.clip(value, 0, 99_999_999)
    large = value >= 10_000
    return [(_BELOW_10_000, np.where(large, value // 10_000, value)), (_PADDED, np.where(large, value % 10_000 + 1, 0))]


def hundredths(value: NDArray[np.float64]) -> list[Part]:
    """Parts that spell numbers from 0 to 999,999.99 with two decimals."""
    scaled = np.clip(np.rint(value * 100), 0, 99_999_999).astype(np.int64)
    return [*whole(scaled // 100), (_HUNDREDTHS, scaled % 100)]


Made = Iterator[tuple[list[Part], Longs]]
"""Parts of BLOCK events, and the milliseconds between them, for ever."""


def _gaps(rng: Rng, mean_ms: float) -> Longs:
    return np.rint(rng.exponential(mean_ms, BLOCK)).astype(np.int64)


_HOSTS = Pieces.of([f"node-{i}" for i in range(24)])
_LEVELS = Pieces.of(["INFO", "DEBUG", "WARN", "ERROR"])
_ACTS = Pieces.of([f"{verb} {what} for" for verb in ("opened", "closed", "read", "wrote", "merged") for what in ("session", "cache", "lease", "segment", "cursor", "index", "queue", "shard")])  # fmt: skip
_USERS = Pieces.of([f"user{i}" for i in range(2000)])


def skewed(rng: Rng) -> Made:
    """Log lines of skewed categories: a few hosts, acts and users make most of it, the rarest come once in 100,000."""
    while True:
        parts: list[Part] = [
            (_LEVELS, rng.choice(4, BLOCK, p=(0.9, 0.08, 0.0195, 0.0005))), " ",
            (_HOSTS, np.minimum(rng.geometric(0.3, BLOCK) - 1, 23)), " ",
            (_ACTS, np.minimum(rng.geometric(0.25, BLOCK) - 1, 39)), " ",
            (_USERS, np.minimum(rng.geometric(0.01, BLOCK) - 1, 1999)), " in ", *whole(rng.integers(1, 900, BLOCK)), " ms",
        ]  # fmt: skip
        yield parts, _gaps(rng, 50)


_ZIPF = 50_000
_WORDS = Pieces.of([" " + "".join("bcdfghklmnprstvz"[(i >> s) & 15] + "aeio"[(i >> (s + 4)) & 3] for s in (0, 6, 12)) for i in range(_ZIPF)])  # fmt: skip


def zipf(rng: Rng) -> Made:
    """Lines of eight words drawn from 50,000 by Zipf's law (exponent 1.1), so that new words never end."""
    weight = np.cumsum(np.arange(1, _ZIPF + 1) ** -1.1)
    weight /= weight[-1]
    while True:
        words = np.searchsorted(weight, rng.random((8, BLOCK)))
        yield ["message", *((_WORDS, column) for column in words)], _gaps(rng, 50)


_PLANS = Pieces.of(["free", "basic", "team", "enterprise"])


def numbers(rng: Rng) -> Made:
    """JSON with a normal, a lognormal, a Pareto (shape 1.5) and an autoregressive (.95) number, and one category."""
    memory = 256  # .95 ** 256 is 2e-6 of a step: the process is stationary from its first event
    kernel = 0.95 ** np.arange(memory)[::-1]
    past = rng.normal(size=memory - 1)
    while True:
        steps = np.r_[past, rng.normal(size=BLOCK)]
        past = steps[-(memory - 1) :]
        slow = np.convolve(steps, kernel[::-1], "valid")
        parts: list[Part] = [
            '{"temp":', *hundredths(60 + 5 * rng.normal(size=BLOCK)), ',"ms":', *hundredths(np.exp(rng.normal(3, 0.8, BLOCK))),
            ',"bytes":', *whole((400 * (1 + rng.pareto(1.5, BLOCK))).astype(np.int64)), ',"load":', *hundredths(np.maximum(0, 50 + 4 * slow)),
            ',"plan":"', (_PLANS, rng.choice(4, BLOCK, p=(0.6, 0.3, 0.09, 0.01))), '"}',
        ]  # fmt: skip
        yield parts, _gaps(rng, 50)


_STATES = 3
_STATE_ACTS = Pieces.of([f"{job} {step}" for job in ("serve", "flush", "backup") for step in ("begins", "page", "block", "waits", "retries", "ends")])  # fmt: skip


def bursty(rng: Rng) -> Made:
    """Markov-modulated: three hidden states of 40 to 400 events in the mean, each with its own lines and its own rate."""
    share = np.array(
        [[0.1, 0.5, 0.3, 0.06, 0.01, 0.03], [0.05, 0.1, 0.75, 0.05, 0.02, 0.03], [0.02, 0.03, 0.9, 0.03, 0.01, 0.01]]
    )
    bounds = np.cumsum(share, axis=1)
    stay, gap = np.array([400, 120, 40]), np.array([60, 15, 3])
    state, left = 0, 1
    while True:
        path = np.empty(BLOCK, np.int64)
        place = 0
        while place < BLOCK:
            if left == 0:
                state, left = (state + 1 + int(rng.integers(2))) % _STATES, int(rng.geometric(1 / stay[state]))
            taken = min(left, BLOCK - place)
            path[place : place + taken] = state
            place, left = place + taken, left - taken
        step = np.minimum((rng.random(BLOCK)[:, None] > bounds[path]).sum(axis=1), 5)
        parts: list[Part] = [
            "worker ", (_BELOW_10_000, rng.integers(1, 17, BLOCK)), ": ", (_STATE_ACTS, path * 6 + step), " of volume ",
            (_BELOW_10_000, np.minimum(rng.geometric(0.2, BLOCK), 40)), ", ", *whole(rng.geometric(0.001, BLOCK)), " bytes",
        ]  # fmt: skip
        yield parts, np.rint(rng.exponential(gap[path])).astype(np.int64)


_MOST = 8
_STEPS = Pieces.of(["", *(f"\nstep {name} done" for name in ("fetch", "parse", "check", "store", "index", "notify")), "\nretry of store after timeout"])  # fmt: skip


def sessions(rng: Rng) -> Made:
    """One event is all lines of a session: three to eight steps by a Markov chain, a retry in one of 150 steps."""
    while True:
        length = np.minimum(rng.geometric(0.4, BLOCK) + 2, _MOST)
        step, columns = np.zeros(BLOCK, np.int64), []
        for i in range(_MOST):
            move = rng.random(BLOCK)
            step = np.where(move < 0.85, (step + (i > 0)) % 6, rng.integers(6, size=BLOCK))
            shown = np.where(rng.random(BLOCK) < 1 / 150, 7, step + 1)
            columns.append(np.where(i < length, shown, 0))
        parts: list[Part] = ["session ", *whole(rng.integers(10_000_000, 99_999_999, BLOCK)), " opened", *((_STEPS, c) for c in columns), "\nclosed after ", *whole(rng.geometric(0.01, BLOCK)), " ms"]  # fmt: skip
        yield parts, _gaps(rng, 200)


PROCESSES: dict[str, Callable[[Rng], Made]] = {
    "skewed": skewed,
    "zipf": zipf,
    "numbers": numbers,
    "bursty": bursty,
    "sessions": sessions,
}


def blocks(process: str, n: int, seed: int) -> Iterator[Events]:
    """The first n events of a process, in blocks of at most BLOCK."""
    rng = np.random.default_rng([seed, *process.encode()])
    done, now = 0, START_MS
    for parts, gaps in PROCESSES[process](rng):
        if done >= n:
            return
        size = min(BLOCK, n - done)
        kept = [p if isinstance(p, str) else (p[0], p[1][:size]) for p in parts]
        yield joined(kept, gaps[:size], now, done)
        done, now = done + size, now + int(gaps[:size].sum())


def lines(process: str, n: int, seed: int) -> list[bytes]:
    """The same as a list of bodies."""
    bodies: list[bytes] = []
    for events in blocks(process, n, seed):
        data = events.body.tobytes()
        at = events.offsets.tolist()
        bodies += [data[a:b] for a, b in pairwise(at)]
    return bodies
