"""Terms: what an override changes, and from when on."""

from decimal import Decimal

from billing.plans import latest
from billing.terms import NOTHING, Agreed, Override, terms

STANDARD = latest("standard")
DEAL = Override(1, "standard", 80_000, Decimal("0.08"), 1_200, None, 365, 150, 1_000)


def test_without_an_agreement_the_plan_speaks() -> None:
    plain = terms(STANDARD, NOTHING, 0, 0)
    assert (plain.included, plain.overage_cents, plain.cap, plain.mode) == (50_000, Decimal("0.1"), 60_000, "soft")
    assert (plain.requests_per_minute, plain.streams, plain.retention_days) == (600, 1_000, 30)


def test_the_price_changes_with_the_next_period_and_the_rest_at_once() -> None:
    agreed = Agreed((DEAL,))
    before = terms(STANDARD, agreed, 0, 999)
    assert before == terms(STANDARD, NOTHING, 0, 999)
    within = terms(STANDARD, agreed, 0, 1_000)
    assert (within.included, within.overage_cents, within.cap) == (50_000, Decimal("0.1"), 75_000)
    assert (within.requests_per_minute, within.streams, within.retention_days) == (1_200, 1_000, 365)
    after = terms(STANDARD, agreed, 1_000, 2_000)
    assert (after.included, after.overage_cents, after.cap) == (80_000, Decimal("0.08"), 120_000)


def test_an_override_is_for_its_plan_and_the_newest_counts_whole() -> None:
    withdrawn = Override(2, "standard", None, None, None, None, None, None, 2_000)
    agreed = Agreed((DEAL, withdrawn))
    assert terms(STANDARD, agreed, 2_000, 2_000) == terms(STANDARD, NOTHING, 2_000, 2_000)
    assert terms(latest("growth"), agreed, 1_500, 1_500) == terms(latest("growth"), NOTHING, 1_500, 1_500)
