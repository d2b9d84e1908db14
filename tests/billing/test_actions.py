"""Actions: the bytes that are hashed, and what a state may hold."""

import uuid
from decimal import Decimal
from typing import Any

import pytest

from billing.actions import _require_plain, action_hash
from billing.chain import GENESIS

O = uuid.UUID(int=1)  # noqa: E741 - an organization


def test_the_bytes_that_are_hashed_never_change() -> None:
    # If this fails, every chain ever written stops verifying: give the tag a new number and keep the old rule for old rows.
    known = "8ded4d6de005efde012379d5b2becd329b5ec47f779b1915b199be0da74e36ff"  # pragma: allowlist secret
    state = {"b": "0.1", "a": [1, True, None, {"ü": "x"}]}
    assert action_hash(GENESIS, O, 1, 1_772_447_820_000, "user/1", "cap.set", None, state).hex() == known
    other_order = dict(reversed(state.items()))
    assert action_hash(GENESIS, O, 1, 1_772_447_820_000, "user/1", "cap.set", None, other_order).hex() == known


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": 0.5}, "float"),
        ({"a": [Decimal(1)]}, "Decimal"),
        ({"a": {1: 2}}, "no text"),
        ({"a": 1 << 63}, "64 bits"),
        ({"a": "\0"}, "NUL"),
        ({"a": "\ud800"}, "surrogate"),
        ({"a": uuid.UUID(int=1)}, "UUID"),
    ],
)
def test_what_would_not_come_back_as_it_was_is_refused(value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _require_plain(value, "after")
