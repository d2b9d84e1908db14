"""`make bench-worst`: events of 64 KiB that are made to be dear, beside an ordinary one of the same size; exits 1 above 20 times.

Each event goes the way that one goes here: read from its record (`schemas.records`), packed into a frame and decoded, scored by a warm
stream's detector. Processor time of this process, the median of several turns, one event a block.
"""

import json
import random
import statistics
import string
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import orjson

from detectors.detector import Controls, Events, State, new_state, score, warm_up
from schemas import frames, records
from schemas.frames import Block, Frame, Range, columns
from schemas.topics import MAX_EVENT_BYTES
from tests.benchmarks.lines import lines

MARK = 20.0
TURNS = 15
WARM = 4_000
SIZE = MAX_EVENT_BYTES
_KEYS = string.ascii_letters + string.digits + "!#$%&()*+,-./;<=>?@[]^_`|~"
_AT = 1_772_445_600_000
_ORGANIZATION = "00000000-0000-5000-8000-000000000001"

Make = Callable[[random.Random], bytes]


def _padded(text: bytes, end: bytes = b"") -> bytes:
    return text[: SIZE - len(end)].ljust(SIZE - len(end), b"x") + end


def ordinary(rng: random.Random) -> bytes:
    """A batch of ordinary words and numbers: a JSON object of 64 KiB with a message and 60 members."""
    words = [line.decode() for _, line in lines(400, 1, rng.randrange(1 << 30))]
    members = {f"part{i}": " ".join(orjson.loads(words[i * 6 + j])["message"] for j in range(6)) for i in range(60)}
    said = orjson.dumps({"message": "batch done", **members, "rest": ""})
    words_left = " ".join(orjson.loads(word)["message"] for word in words).encode()
    left = (words_left * (SIZE // len(words_left) + 1))[: SIZE - len(said)]
    return said[:-2] + left + said[-2:]


def random_bytes(rng: random.Random) -> bytes:
    """Bytes as they come: not UTF-8, so a dead letter where records are read, and scored here all the same."""
    return rng.randbytes(SIZE)


def random_text(rng: random.Random) -> bytes:
    """The same in letters: 64 KiB of random words."""
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789 ", k=SIZE)).encode()


def keys(rng: random.Random) -> bytes:
    """An object of 10,000 members, as many as 64 KiB hold: 5,500 keys of two characters, each another, and 4,500 of one."""
    pairs = [a + b for a in _KEYS for b in _KEYS]
    names = rng.sample(pairs, 5_500) + rng.choices(_KEYS, k=4_500)
    rng.shuffle(names)
    return (b"{" + ",".join(f'"{name}":0' for name in names).encode()).ljust(SIZE - 1) + b"}"


def depth(_rng: random.Random) -> bytes:
    """An object nested a thousand deep, with a long text at its bottom."""
    head, tail = b'{"a":' * 1_000 + b'"', b'"' + b"}" * 1_000
    return head + b"y" * (SIZE - len(head) - len(tail)) + tail


def token(_rng: random.Random) -> bytes:
    """One token."""
    return b"z" * SIZE


def brackets(_rng: random.Random) -> bytes:
    """Nothing but what opens."""
    return b"[" * SIZE


def digits(_rng: random.Random) -> bytes:
    """A number with 64 KiB of digits."""
    return _padded(b'{"n":' + b"9" * SIZE, b"}")


def spaces(_rng: random.Random) -> bytes:
    """As many tokens as there can be."""
    return b"a " * (SIZE // 2)


def escapes(_rng: random.Random) -> bytes:
    """A text of escapes."""
    return b'{"m":"' + b"\\u00e9" * ((SIZE - 8) // 6) + b'"}'


WORST: tuple[Make, ...] = (random_bytes, random_text, keys, depth, token, brackets, digits, spaces, escapes)


def warm() -> State:
    """A stream that has learned ordinary lines."""
    warm_up()
    state, bodies = new_state(), [line for _, line in lines(WARM, 1)]
    for at in range(0, WARM, 500):
        state, _, _ = score(state, _events(bodies[at : at + 500], _AT + at), None, Controls())
    return state


def _events(bodies: list[bytes], at: int) -> Events:
    ends = np.concatenate([[0], np.cumsum([len(body) for body in bodies])]).astype(np.int64)
    times = at + np.arange(len(bodies), dtype=np.int64)
    return Events(
        np.frombuffer(b"".join(bodies), np.uint8), ends, times, np.zeros(len(bodies), np.uint64), lambda i: b"%d" % i
    )


def costs(state: State, make: Make, seed: int = 1) -> Iterator[float]:
    """CPU-seconds of an event, turn by turn; each is another one."""
    rng = random.Random(seed)
    described = records.describe([("x-organization-id", _ORGANIZATION.encode())])
    source = Range("events", "id", 0, (0, 0), (1, 0), _AT)
    for turn in range(TURNS + 1):
        body = make(rng)
        began = time.process_time()
        records.read(body, described)
        events = columns([0], [0], [0], [_AT], [b""], [body])
        frame = frames.decode(frames.encode(Frame((source,), (Block(_ORGANIZATION, "shop", 0, 1),), events)))
        score(state, _events([frame.events.body], _AT + WARM), None, Controls(1.0, 10_000))
        if turn:  # the first fills caches
            yield time.process_time() - began


def main() -> int:
    """Print a JSON line for each kind of event; 1 where one costs more than the mark."""
    state = warm()
    usual = statistics.median(costs(state, ordinary))
    missed = []
    for make in WORST:
        cost = statistics.median(costs(state, make))
        said = {
            "name": f"worst case, {make.__name__.replace('_', ' ')}",
            "value": round(1e6 * cost),
            "unit": "CPU microseconds of an event of 64 KiB",
            "peer": "an ordinary event of 64 KiB",
            "peer_value": round(1e6 * usual),
            "ratio": round(cost / usual, 3),
            "mark": MARK,
        }
        sys.stdout.write(json.dumps(said) + "\n")
        if cost > MARK * usual:
            missed.append(f"{make.__name__}: {cost / usual:.1f} times an ordinary event, the mark is {MARK:g}\n")
    sys.stderr.write("".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
