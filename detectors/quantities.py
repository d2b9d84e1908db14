"""What is said of a number: what it did and what is usual, in the user's own unit. Integers only."""

import re

from detectors import layout as at

_DIGITS, _LONGEST = 3, 12
_PARTS = re.compile(rb'"((?:[^"\\]|\\.)*)"|[{}\[\],:]')


def quantity(row: list[int], spelt: str) -> tuple[str, str]:
    """(what the number did, what is usual) of a row of evidence; `spelt` is the number as the event has it."""
    packed, a, b, c = (row[i] for i in (at.V_SEEN, at.V_OF, at.V_BEFORE, at.V_BEFORE_OF))
    cause, counter, shift = packed & 7, packed & 8, (packed >> 4) - 2048
    first, second, third = (decimal(value, shift) for value in (a, b, c))
    value = spelt if len(spelt) <= _LONGEST else third if cause == at.W_STUCK else first
    grows = "grows by" if counter else "is"
    if cause in (at.W_MOVE, at.W_DRIFT):
        events = 16 if cause == at.W_MOVE else 64
        return f"{grows} about {first} now, after {second} over {events} events", f"it moves by at most {third}"
    if cause == at.W_DAILY:
        return f"{grows} about {first} at this time of day", f"within {third} of {second}"
    if cause == at.W_SPREAD:
        much = "more" if 2 * a > b + c else "less"
        where = " in its growth" if counter else ""
        return f"varies {much} than usual{where}, by about {first}", between(second, third)
    if cause == at.W_STUCK:
        what = f"grew by {third}" if counter else f"was {value}"
        return f"{what} in {a + 1:,} events in a row", f"at most {b + 1:,} in a row" if b else "never twice in a row"
    return (f"grew by {first}" if counter else f"was {value}"), between(second, third)


def between(low: str, high: str) -> str:
    """A range, or the one number it is."""
    return low if low == high else f"{low} to {high}"


def decimal(value: int, shift: int) -> str:
    """value * 10^-shift with three significant digits: plain from a ten-thousandth to a billion, else with an exponent."""
    sign, digits = ("-" if value < 0 else ""), str(abs(value))
    if len(digits) > _DIGITS:
        cut = 10 ** (len(digits) - _DIGITS)
        rounded = (abs(value) + cut // 2) // cut
        shift -= len(digits) - _DIGITS
        digits = str(rounded)
    stripped = digits.rstrip("0")
    if not stripped:
        return "0"
    shift -= len(digits) - len(stripped)
    point = len(stripped) - shift  # digits before the point
    if point > 9 or point < -3:
        return f"{sign}{stripped[0]}{'.' + stripped[1:] if len(stripped) > 1 else ''}e{point - 1}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{stripped}"
    whole = (stripped + "0" * (point - len(stripped)))[:point]
    return f"{sign}{int(whole):,}{'.' + stripped[point:] if len(stripped) > point else ''}"


def path(event: bytes, start: int) -> str:
    """Keys from the top of a JSON event down to what stands at `start`, with dots between; [] for an array's element."""
    keys: list[str] = []
    key = ""
    for part in _PARTS.finditer(event, 0, start):
        mark = part.group()
        if mark == b"{":
            keys.append("")
        elif mark == b"[":
            keys.append("[]")
        elif mark in (b"}", b"]"):
            del keys[-1:]
        elif mark == b":" and keys:
            keys[-1] = key
        elif mark[:1] == b'"':
            key = part.group(1).decode("utf-8", "replace")
    return ".".join(k for k in keys if k) or "the number"
