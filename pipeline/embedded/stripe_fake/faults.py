"""What goes wrong on request: a list of rules, each with a chance, a count and an end, tried in order for every request.

- `drop`: the connection is closed without an answer; nothing was applied.
- `drop_applied`: applied, then closed without an answer.
- `drop_late`: closed without an answer; applied `late` seconds (of the fake's clock) later, perhaps after newer requests.
- `error`: HTTP 500, nothing applied.   `error_applied`: applied, then HTTP 500.
- `rate_limit`: HTTP 429, nothing applied.
`hang` holds the connection open so many real seconds before it is dropped, so that a client's own time-out is met.
"""

import random
from dataclasses import dataclass
from typing import Any, Literal, get_args

Kind = Literal["drop", "drop_applied", "drop_late", "error", "error_applied", "rate_limit"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass
class Rule:
    """One rule. `path` is a prefix; `left` counts down, None is for ever; `until` is a time of the fake's clock."""

    kind: Kind
    path: str = "/v1/"
    method: str = ""
    chance: float = 1.0
    left: int | None = None
    until: int | None = None
    late: int = 60
    hang: float = 0.0


def rule(given: dict[str, Any]) -> Rule:
    """A rule of a control request; `ValueError` says what is wrong with it."""
    if given.get("kind") not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}")
    try:
        made = Rule(**given)
    except TypeError as error:
        raise ValueError(str(error)) from error
    if not 0 <= made.chance <= 1 or made.late < 0 or not 0 <= made.hang <= 120:
        raise ValueError("chance is 0 to 1, late is not negative, hang is 0 to 120 seconds")
    return made


def pick(rules: list[Rule], method: str, path: str, now: int, rng: random.Random) -> Rule | None:
    """The first rule that strikes this request; counts it down and removes what is used up or over."""
    rules[:] = [r for r in rules if r.left != 0 and (r.until is None or now < r.until)]
    for one in rules:
        if not path.startswith(one.path) or (one.method and one.method != method):
            continue
        if one.chance < 1 and rng.random() >= one.chance:
            continue
        if one.left is not None:
            one.left -= 1
        return one
    return None
