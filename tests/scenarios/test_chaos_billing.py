"""A medium run of `make chaos-billing`: each crash point of sink and sender, and each kind of random kill, once."""

import pytest

from tests.scenarios import chaos_billing


@pytest.mark.timeout(300)
def test_truth_is_the_ledger_is_stripe_whatever_is_killed() -> None:
    assert chaos_billing.run(units=20_000, kills=12, seed=1) == 0
