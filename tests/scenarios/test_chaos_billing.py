"""A medium run of `make chaos-billing`: each crash point of sink, sender and applier, and each random kill, once."""

import pytest

from tests.scenarios import chaos_billing


@pytest.mark.timeout(600)
def test_truth_is_the_ledger_is_stripe_whatever_is_killed() -> None:
    assert chaos_billing.run(units=20_000, kills=18, seed=1) == 0
