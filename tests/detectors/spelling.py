"""The same stream in another spelling: a seeded bijection on words, field names and all."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.quality.labelled import Event

_TOKEN = re.compile(r"[A-Za-z0-9]+")
_LOW, _HIGH = "abcdef", "ghijklmnopqrstuvwxyz"


def spelling(seed: int) -> Callable[[Event], Event]:
    """A function that spells an event anew: each word of letters becomes another of its length and case, one to one.

    In short words and in those with digits letters are permuted, a to f among themselves, so that hexadecimal stays
    hexadecimal. Digits, numbers, true, false and null stay, because they are what they are.
    """
    rng = np.random.default_rng(seed)
    low, high = ("".join(rng.permutation(list(part))) for part in (_LOW, _HIGH))
    letters = str.maketrans(_LOW + _HIGH + (_LOW + _HIGH).upper(), low + high + (low + high).upper())
    words: dict[str, str] = {}
    taken: set[str] = set()

    def word(old: str) -> str:
        if not old.isalpha() or len(old) < 4:
            return old.translate(letters)
        while old not in words:
            drawn = rng.integers(26, size=len(old)).tolist()
            # The last letter is none of a to f, so that no word becomes a hexadecimal number.
            new = [chr(97 + x) for x in drawn[:-1]] + [_HIGH[drawn[-1] % len(_HIGH)]]
            cased = "".join(n.upper() if o.isupper() else n for n, o in zip(new, old, strict=True))
            if cased not in taken:
                words[old] = cased
                taken.add(cased)
        return words[old]

    def value(old: Any) -> Any:
        if isinstance(old, str):
            return _TOKEN.sub(lambda found: word(found[0]), old)
        if isinstance(old, dict):
            return {value(key): value(inner) for key, inner in old.items()}
        return [value(inner) for inner in old] if isinstance(old, list) else old

    return value
