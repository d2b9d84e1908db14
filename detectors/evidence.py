# ruff: noqa: PLR0911 (a case a kind of evidence)
"""What is told of an episode beside its numbers: a sentence, tokens with their bits, the nearest normal event, CBAD's metrics.

Computed in plain Python, only for the few events that emit an update, from the samples that the kernel keeps. Integers only.
"""

import re
from dataclasses import dataclass

import numpy as np
import zstandard
from numpy.typing import NDArray

from detectors import layout as at
from detectors.quantities import path, quantity
from detectors.state import State
from detectors.tables import BIT, exact_log2

PERMUTATIONS = 999
LIBRARY = f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))}"
RATE, SILENT = "rate", "no event"
FORM, FIELDS, WITH = "this form of event", "the event's fields or brackets", " with "
_LEVEL, _LONGEST = 3, 80
_KEY = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*:')
_WORD = re.compile(r"[^\s\"'\[\](){}<>|,;=]+")


@dataclass(frozen=True)
class TokenEvidence:
    """One token or field: the bits (2^-16) it cost, and how often it was expected and seen."""

    token: str
    bits: int
    expected: str
    seen: str


@dataclass(frozen=True)
class Explanation:
    """Why an episode is an anomaly, for a person; `event` is the episode's strongest event, cut at 1,024 bytes."""

    sentence: str
    tokens: tuple[TokenEvidence, ...]
    event: str
    nearest_normal: str | None


@dataclass(frozen=True)
class WindowMetrics:
    """CBAD's metrics of the window against the baseline; sizes in bytes as zstd (`library`) gives them, ratios in 1/65536."""

    baseline_bytes: int
    window_bytes: int
    both_bytes: int
    window_raw_bytes: int
    compression_ratio: int
    delta_bits_per_byte: int
    ncd: int
    entropy: int
    permutation_p: int
    library: str


def explanation(state: State, ending: str) -> Explanation:
    """The explanation of the open or just closed episode; `ending` is added to the sentence."""
    head = state.head
    start = (at.BASELINE_SAMPLES + at.WINDOW_SAMPLES) * at.SAMPLE
    event = state.samples[start : start + int(head[at.H_PEAK_SIZE])].tobytes()
    rows = head[at.H_EVIDENCE : at.H_EVIDENCE + int(head[at.H_EVIDENCE_N]) * at.EVIDENCE_COLUMNS]
    kinds, tokens = [], []
    for row in rows.reshape(-1, at.EVIDENCE_COLUMNS).tolist():
        kinds.append(row[at.V_CHANNEL])
        tokens.append(_token(state, event, row))
    leading = int(head[at.H_PEAK_KIND])
    text = event.decode("utf-8", "replace")
    return Explanation(sentence(leading, kinds, tokens) + ending, tuple(tokens), text, _nearest(state, text))


def _token(state: State, event: bytes, row: list[int]) -> TokenEvidence:
    start, end, bits, seen, of = (row[i] for i in (at.V_START, at.V_END, at.V_BITS, at.V_SEEN, at.V_OF))
    before, before_of = row[at.V_BEFORE], row[at.V_BEFORE_OF]
    what = row[at.V_CHANNEL]
    if what == at.V_BURST:
        name = _name(event, start, end) if start >= 0 else FORM
        return TokenEvidence(name, bits, usual(of, before, before_of), f"{seen:,} of the last {of:,} events")
    if what == at.V_RATE:
        return rate_evidence(bits, seen, of, before)
    if what == at.V_SILENCE:
        return TokenEvidence(SILENT, bits, f"one every {span(before)}", f"none for {span(seen)}")
    if what == at.V_NUMBER:
        seen_as, usually = quantity(row, event[start:end].decode())
        return TokenEvidence(path(event, start), bits, usually, seen_as)
    if what == at.V_FORM:
        name = FORM if start == -1 else FIELDS if start == -2 else f"brackets or quotes of {_name(event, start, end)}"
        return TokenEvidence(name, bits, f"a form common in {of:,} events", "new or rare")
    if what in {at.V_MISSING, at.V_MANY, at.V_ORDER}:
        return _session_token(state, event, row)
    if what == at.V_PAIR:
        both = f"{_name(event, start, end)}{WITH}{_name(event, seen, of)}"
        return TokenEvidence(both, bits, f"{before:,} and {before_of:,} events apart", "the first together")
    return TokenEvidence(_name(event, start, end), bits, f"{_values(seen)} in {of:,} events", "new or rare there")


def _session_token(state: State, event: bytes, row: list[int]) -> TokenEvidence:
    """What leads a session: a line out of order, or a kind of line that is missing or came often."""
    what, bits, kind, of = row[at.V_CHANNEL], row[at.V_BITS], row[at.V_SEEN], row[at.V_OF]
    if what == at.V_ORDER:
        line = _name(event, row[at.V_START], row[at.V_END])
        return TokenEvidence(
            line, bits, f"another order in {of:,} events of many lines", "new or rare behind the line before"
        )
    had, lines = row[at.V_BEFORE], row[at.V_BEFORE_OF]
    text = (
        state.texts[kind * at.KIND_TEXT : (kind + 1) * at.KIND_TEXT].tobytes().rstrip(b"\0").decode("utf-8", "replace")
    )
    each = f"{_tenths(lines, had)} each where it comes" if had else "none"
    came = "no such line" if what == at.V_MISSING else "more of them, or where there are usually none"
    return TokenEvidence(text, bits, f"in {had:,} of {of:,} events of many lines, {each}", came)


def _tenths(total: int, events: int) -> str:
    """total / events, rounded to tenths."""
    tenths = (20 * total + events) // (2 * events)
    return f"{tenths // 10}" if tenths % 10 == 0 else f"{tenths // 10}.{tenths % 10}"


def rate_evidence(bits: int, seen: int, length: int, expected: int) -> TokenEvidence:
    """What the rate was: `seen` events in a span of `length` ms where `expected` (2^-8) are usual."""
    if expected >= 512:
        usually = f"about {_round((expected + 128) >> 8):,}"
    else:
        usually = f"one every {span((length << 8) // max(expected, 1))}"
    return TokenEvidence(RATE, bits, usually, f"{seen:,} event{'' if seen == 1 else 's'} in {span(length)}")


def _round(n: int) -> int:
    """Two leading digits: more would say that the usual is known so well."""
    unit = int(10 ** max(len(str(n)) - 2, 0))
    return (n + unit // 2) // unit * unit


def span(ms: int) -> str:
    """A length of time as a person says it, from milliseconds: two digits, or the next smaller unit while it matters."""
    for unit, name in ((86_400_000, "day"), (3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if ms >= 2 * unit or (ms == unit and name != "day"):
            n = (ms + unit // 2) // unit
            return f"{n:,} {name}{'s' if name == 'day' else ''}"
    return f"{ms} ms" if ms < 1000 else f"{ms // 1000}.{ms % 1000 // 100} s"


def usual(window: int, before: int, events: int) -> str:
    """How many of `window` events are usual after `before` in `events`; where that is less than one, the count itself."""
    expected = (2 * before * window + events) // (2 * max(events, 1))
    if expected == 0:
        return f"{before:,} in {events:,}"
    return "nearly all" if expected == window else f"about {expected:,}"


def _values(different: int) -> str:
    return "one value" if different == 1 else f"{different:,} different values"


def _name(event: bytes, start: int, end: int) -> str:
    """The token, with its key where the event is JSON."""
    token = event[start:end].decode("utf-8", "replace")
    if not event.lstrip().startswith(b"{"):
        return token
    keys = _KEY.findall(event, 0, start)
    return f"{keys[-1].decode('utf-8', 'replace')}: {token}" if keys else token


def sentence(leading: int, kinds: list[int], tokens: list[TokenEvidence]) -> str:
    """One sentence without its full stop, by the leading channel."""
    found = dict(reversed(list(zip(kinds, tokens, strict=True))))  # the first of each kind
    channel = at.CHANNELS[leading]
    if channel == "burst" and at.V_BURST in found:
        burst = found[at.V_BURST]
        return f"{_quoted(burst.token)} appeared in {burst.seen}; usually {burst.expected}"
    if channel == "session":
        return _session(found)
    if channel == "rate" and at.V_RATE in found:
        rate = found[at.V_RATE]
        return f"{rate.seen[0].upper()}{rate.seen[1:]}; usually {rate.expected} at this hour"
    if channel == "silence" and at.V_SILENCE in found:
        silence = found[at.V_SILENCE]
        return f"No event for {silence.seen.removeprefix('none for ')}; usually {silence.expected}"
    if channel == "number":
        token = found.get(at.V_NUMBER)
        return (
            f"{_quoted(token.token)} {token.seen}; usually {token.expected}"
            if token
            else "A number that does not fit its own past"
        )
    value = found.get(at.V_VALUE)
    if channel == "value":
        return _value([found[kind] for kind in (at.V_VALUE, at.V_PAIR, at.V_FORM) if kind in found], found)
    most = f", most of all by {_quoted(value.token)} in a place with {value.expected}" if value else ""
    return f"An event unlike the others of this stream{most}"


def _value(candidates: list[TokenEvidence], found: dict[int, TokenEvidence]) -> str:
    best = max(candidates, key=lambda token: token.bits, default=None)
    if best is None or best.token in {FORM, FIELDS}:
        return "An event with fields or brackets not seen before"
    if best is found.get(at.V_FORM):
        return f"The {best.token} are in an order not seen before"
    if best is found.get(at.V_PAIR):
        return f"{_quoted(best.token)} never came together before, in {best.expected}"
    return f"{_quoted(best.token)} is new or rare in its place, which had {best.expected}"


def _session(found: dict[int, TokenEvidence]) -> str:
    best = max(
        (found[kind] for kind in (at.V_MISSING, at.V_MANY, at.V_ORDER) if kind in found),
        key=lambda t: t.bits,
        default=None,
    )
    if best is None:
        return "Lines of several kinds together as they never were"
    if best is found.get(at.V_MISSING):
        return f"The line {_quoted(best.token)} is missing; it comes {best.expected}"
    if best is found.get(at.V_MANY):
        return f"The line {_quoted(best.token)} came too often; it comes {best.expected}"
    return f"The line {_quoted(best.token)} came behind a line that others follow"


def _quoted(token: str) -> str:
    """The token in quotes, on one line and at most 80 characters long; a form goes without."""
    if token in {FORM, FIELDS}:
        return token[0].upper() + token[1:]
    line = "".join(c if c.isprintable() else "·" for c in " ".join(token.split())).replace("`", "'")
    return f"`{line if len(line) <= _LONGEST else line[: _LONGEST - 1] + '…'}`"


def _nearest(state: State, text: str) -> str | None:
    """The kept normal event that shares most words with `text`; the newest of equals."""
    words = set(_WORD.findall(text))
    best, found = -1, None
    kept = int(state.head[at.H_BASELINE_N])
    for number in range(max(0, kept - at.BASELINE_SAMPLES), kept):
        sample = _sample(state, number % at.BASELINE_SAMPLES).decode("utf-8", "replace")
        other = set(_WORD.findall(sample))
        shared = (len(words & other) << 16) // max(len(words | other), 1)
        if shared >= best:
            best, found = shared, sample
    return found


def _sample(state: State, which: int) -> bytes:
    size = int(state.head[at.H_SIZES + which])
    return state.samples[which * at.SAMPLE : which * at.SAMPLE + size].tobytes()


def metrics(state: State) -> WindowMetrics:
    """The window's metrics: the episode's last 32 events, at least the stream's last 8, against up to 48 normal ones."""
    head = state.head
    kept = int(head[at.H_BASELINE_N])
    normal = [n % at.BASELINE_SAMPLES for n in range(max(0, kept - at.BASELINE_SAMPLES), kept)]
    seen = int(head[at.H_WINDOW_N])
    size = min(at.WINDOW_SAMPLES, seen, max(8, int(head[at.H_COUNT])))
    recent = [at.BASELINE_SAMPLES + n % at.WINDOW_SAMPLES for n in range(seen - size, seen)]
    baseline = b"\n".join(_sample(state, i) for i in normal)
    window = b"\n".join(_sample(state, i) for i in recent)
    compress = zstandard.ZstdCompressor(level=_LEVEL).compress
    a, b, both = len(compress(baseline)), len(compress(window)), len(compress(baseline + b"\n" + window))
    raw_a, raw_b = max(len(baseline), 1), max(len(window), 1)
    codes = head[at.H_CODES + np.array(recent + normal)]
    seed = int(head[at.H_EPISODE]) << 32 | int(head[at.H_COUNT]) & 0xFFFFFFFF
    return WindowMetrics(
        a,
        b,
        both,
        len(window),
        (raw_b * BIT) // b,
        8 * BIT * (b * raw_a - a * raw_b) // (raw_a * raw_b),
        max(0, (both - min(a, b)) * BIT // max(a, b)),
        entropy(window),
        permutation_p(codes, size, seed),
        LIBRARY,
    )


def entropy(data: bytes) -> int:
    """Entropy of bytes, 2^-16 bit a byte."""
    n = len(data)
    if n == 0:
        return 0
    counts = [int(c) for c in np.bincount(np.frombuffer(data, np.uint8)) if c]
    return exact_log2(n) - sum(c * exact_log2(c) for c in counts) // n


def permutation_p(codes: NDArray[np.int64], size: int, seed: int) -> int:
    """(1 + k) / 1000 in 1/65536: k of 999 permutations part the code lengths at least as far as the first `size` from the rest."""
    n = len(codes)
    if size in (0, n):
        return BIT
    keys = splitmix(seed, PERMUTATIONS * n).reshape(PERMUTATIONS, n)
    order = np.argsort(keys, axis=1, kind="stable")
    total = int(codes.sum())
    parted = np.abs(n * codes[order[:, :size]].sum(axis=1) - size * total)
    reached = int((parted >= abs(n * int(codes[:size].sum()) - size * total)).sum())
    return (1 + reached) * BIT // (PERMUTATIONS + 1)


def splitmix(seed: int, n: int) -> NDArray[np.uint64]:
    """uint64[n] of the counter-based generator splitmix64 (Steele, Lea, Flood, 2014)."""
    z = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed & 0xFFFFFFFFFFFFFFFF)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
