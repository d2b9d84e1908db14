"""Roles: each may what the one below may."""

import itertools
import uuid

import pytest

from pipeline.accounts.errors import Forbidden
from pipeline.accounts.roles import KEY_SCOPES, RANK, SCOPES, Principal


def test_each_role_may_what_the_one_below_may() -> None:
    ordered = sorted(SCOPES, key=lambda role: RANK[role])
    assert ordered == ["viewer", "member", "admin", "owner"]
    for lower, higher in itertools.pairwise(ordered):
        assert SCOPES[lower] < SCOPES[higher]
    assert set(KEY_SCOPES) < SCOPES["owner"]
    assert not any(scope.endswith(":write") for scope in SCOPES["viewer"])


def test_a_scope_that_is_missing_is_named() -> None:
    principal = Principal(uuid.uuid4(), "key/x", frozenset({"events:write"}))
    principal.require("events:write")
    with pytest.raises(Forbidden, match="anomalies:read"):
        principal.require("anomalies:read")
