"""The integer tables are exactly what they say."""

from decimal import Decimal, getcontext

import numpy as np

from detectors.evidence import entropy, splitmix
from detectors.logs import log2
from detectors.scales import bin_of, value_of
from detectors.tables import ENTRIES, FILE, LOG2, POWERS, exact_log2, read, table


def test_the_committed_file_is_what_its_function_makes() -> None:
    assert FILE.read_bytes() == table()
    assert read().tolist() == LOG2.tolist()


def test_entries_are_rounded_logarithms() -> None:
    getcontext().prec = 40
    for k in (2, 3, 5, 7, 1000, 4097, 8191):
        assert abs(Decimal(int(LOG2[k])) - Decimal(65536) * Decimal(k).ln() / Decimal(2).ln()) <= Decimal("0.5")
    assert np.array_equal(POWERS, [round(65536 * 2 ** (j / 32)) for j in range(32)])


def test_larger_numbers_are_close_and_never_fall() -> None:
    last = 0
    for k in [*range(1, 3 * ENTRIES), *(7**e + d for e in range(6, 22) for d in (-1, 0, 1)), 2**62]:
        got = int(log2(k))
        assert 0 <= exact_log2(k) - got <= 23
        assert got >= last or k < 3 * ENTRIES
        last = got


def test_a_bins_value_lies_in_the_bin() -> None:
    for q in (0, 4):
        for b in range(1, 200):
            assert abs(int(bin_of(q, int(value_of(q, b)))) - b) <= (1 if b < 4 else 0)


def test_splitmix_is_the_published_one() -> None:
    assert splitmix(1234567, 3).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_entropy() -> None:
    assert entropy(b"") == 0
    assert entropy(b"aaaa") == 0
    assert entropy(b"abcd") == 2 << 16
