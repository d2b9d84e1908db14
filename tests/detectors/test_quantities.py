"""What is said of numbers: sentences by cause, numbers as a person writes them, and where in an event a number stands."""

import pytest

from detectors import layout as at
from detectors.evidence import TokenEvidence, sentence
from detectors.quantities import between, decimal, path, quantity

NUMBER = at.CHANNELS.index("number")


def row(cause: int, a: int, b: int, c: int, *, counter: bool = False, shift: int = 1) -> list[int]:
    values = [0] * at.EVIDENCE_COLUMNS
    values[at.V_CHANNEL] = at.V_NUMBER
    values[at.V_SEEN] = cause + 8 * counter + 16 * (shift + 2048)
    values[at.V_OF], values[at.V_BEFORE], values[at.V_BEFORE_OF] = a, b, c
    return values


@pytest.mark.parametrize(
    ("cause", "numbers", "counter", "said"),
    [
        (at.W_VALUE, (931, 400, 600), False, "`value` was 93.1; usually 40 to 60"),
        (at.W_ERROR, (931, 400, 600), False, "`value` was 93.1; usually 40 to 60"),
        (at.W_VALUE, (50, 100, 300), True, "`value` grew by 5; usually 10 to 30"),
        (
            at.W_MOVE,
            (620, 480, 60),
            False,
            "`value` is about 62 now, after 48 over 16 events; usually it moves by at most 6",
        ),
        (
            at.W_DRIFT,
            (620, 480, 60),
            True,
            "`value` grows by about 62 now, after 48 over 64 events; usually it moves by at most 6",
        ),
        (at.W_DAILY, (930, 600, 50), False, "`value` is about 93 at this time of day; usually within 5 of 60"),
        (at.W_SPREAD, (120, 20, 40), False, "`value` varies more than usual, by about 12; usually 2 to 4"),
        (at.W_SPREAD, (2, 20, 40), False, "`value` varies less than usual, by about 0.2; usually 2 to 4"),
        (
            at.W_SPREAD,
            (120, 20, 40),
            True,
            "`value` varies more than usual in its growth, by about 12; usually 2 to 4",
        ),
        (at.W_STUCK, (149, 11, 931), False, "`value` was 93.1 in 150 events in a row; usually at most 12 in a row"),
        (at.W_STUCK, (149, 0, 931), False, "`value` was 93.1 in 150 events in a row; usually never twice in a row"),
        (at.W_STUCK, (149, 11, 0), True, "`value` grew by 0 in 150 events in a row; usually at most 12 in a row"),
    ],
)
def test_sentences(cause: int, numbers: tuple[int, int, int], counter: bool, said: str) -> None:
    seen, usually = quantity(row(cause, *numbers, counter=counter), "93.1")
    assert (
        sentence(NUMBER, [2, at.V_NUMBER], [TokenEvidence("x", 9, "y", "z"), TokenEvidence("value", 9, usually, seen)])
        == said
    )


def test_a_number_that_leads_without_a_row_is_still_told() -> None:
    assert sentence(NUMBER, [], []) == "A number that does not fit its own past"


def test_a_long_spelling_is_rounded() -> None:
    assert quantity(row(at.W_VALUE, 931234, 400, 600, shift=4), "93.12340000000001")[0] == "was 93.1"


@pytest.mark.parametrize(
    ("value", "shift", "said"),
    [
        (0, 5, "0"),
        (931, 1, "93.1"),
        (-931, 1, "-93.1"),
        (123456, 0, "123,000"),
        (999999, 3, "1,000"),
        (5, 3, "0.005"),
        (5, 5, "5e-5"),
        (123, -7, "1.23e9"),
        (123, -6, "123,000,000"),
        (10**14, 14, "1"),
        (10**14, 413, "1e-399"),
        (7, -380, "7e380"),
    ],
)
def test_decimals(value: int, shift: int, said: str) -> None:
    assert decimal(value, shift) == said


def test_a_range_of_one_number_is_that_number() -> None:
    assert (between("4", "4"), between("4", "6")) == ("4", "4 to 6")


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (b'{"value": ', "value"),
        (b'{"a": {"b": "x:{", "c": 1}, "d": {"e": ', "d.e"),
        (b'{"a": [1, {"b": 2}, {"c": ', "a.[].c"),
        (b'{"a": [1, ', "a.[]"),
        (b'{"say \\"hi\\"": ', 'say \\"hi\\"'),
        (b"", "the number"),
    ],
)
def test_paths(before: bytes, said: str) -> None:
    assert path(before + b"5}", len(before)) == said
