"""A person's word on what an episode was told for: normal, confirmed, or taken back. It is kept for the stream, bounded."""

from collections.abc import Iterable
from typing import Literal

from detectors import layout as at
from detectors.state import State

Pattern = tuple[int, int]
"""What an episode was told for (patterns.py): a key, and the size up to which it went."""

Verdict = Literal["normal", "confirmed", "none"]
_VERDICTS = {"normal": at.NORMAL, "confirmed": at.CONFIRMED}


def patterns(state: State) -> tuple[Pattern, ...]:
    """What the open episode, or the one that was just closed, was told for so far."""
    found = state.head[at.H_PATTERNS : at.H_PATTERNS + 2 * int(state.head[at.H_PATTERN_N])].tolist()
    return tuple(zip(found[0::2], found[1::2], strict=True))


def teach(state: State, said: Iterable[Pattern], verdict: Verdict) -> None:
    """Keep the verdict on some patterns; the oldest of a full table are forgotten. Again changes nothing."""
    kept = taught(state)
    for key, size in said:
        before = [row for row in kept if row[0] == key]
        kept = [row for row in kept if row[0] != key]
        if verdict in _VERDICTS:
            same = [row[1] for row in before if row[2] == _VERDICTS[verdict]]
            kept.append((key, max([size, *same]), _VERDICTS[verdict]))
    kept = kept[-at.TAUGHT :]
    rows = state.head[at.H_TAUGHT : at.H_TAUGHT + 2 * at.TAUGHT].reshape(at.TAUGHT, 2)
    rows[:] = 0
    for i, (key, size, word) in enumerate(kept):
        rows[i] = word << at.VERDICT_SHIFT | key & at.KEY_MASK, size
    state.head[at.H_TAUGHT_N] = len(kept)


def taught(state: State) -> list[tuple[int, int, int]]:
    """What is kept of verdicts, the oldest first: key, size, NORMAL or CONFIRMED."""
    rows = state.head[at.H_TAUGHT : at.H_TAUGHT + 2 * int(state.head[at.H_TAUGHT_N])].reshape(-1, 2).tolist()
    return [(word & at.KEY_MASK, size, word >> at.VERDICT_SHIFT) for word, size in rows]
