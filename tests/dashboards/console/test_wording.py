"""Numbers as people read them."""

from decimal import Decimal

import pytest

from dashboards.console.wording import bits, dollars, odds, p_value, plural, rate, size
from schemas.models import BIT


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (rate(Decimal("0.1")), "$0.001"),
        (rate(Decimal("0.05")), "$0.0005"),
        (rate(5), "$0.05"),
        (rate(500), "$5.00"),
        (dollars(4_900), "$49.00"),
        (dollars(-5), "-$0.05"),
        (odds(10 * BIT), "1 in 1,024"),
        (odds(22 * BIT), "1 in 4.2 million"),
        (p_value(20 * BIT), "1e-06"),
        (bits(BIT // 2), "0.5"),
        (size(20 << 20), "20.0 MiB"),
        (plural(1, "anomaly", "anomalies"), "1 anomaly"),
        (plural(2_000, "event"), "2,000 events"),
    ],
)
def test_wording(said: str, expected: str) -> None:
    assert said == expected
