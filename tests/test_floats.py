"""The check against floats: it finds what it is for, and nothing is found now."""

import pytest

from tests.floats import columns, findings, main


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("rate = 0.1", "1: the literal 0.1"),
        ("x = 1\nrate = 1e3", "2: the literal 1000.0"),
        ("def f(a=0.5): ...", "1: the literal 0.5"),
        ("def f(*, a: float): ...", "1: the name float"),
        ("x = float(y)", "1: the name float"),
        ("x = a / b", "1: true division"),
        ("x /= 2", "1: true division"),
        ("import math", "1: import math"),
        ("from json import loads", "1: from json"),
        ("def g():\n    WAIT_SECONDS = 2.0\n    return price * 2.5", "3: the literal 2.5"),
    ],
)
def test_a_float_is_found_with_its_line(source: str, said: str) -> None:
    assert findings(source) == [said]


@pytest.mark.parametrize(
    "source",
    ["a = 3 // 2", "a = Decimal('0.1')", "READ_SECONDS = 5.0", "def backoff(n): return 2.0 ** n", "path = root.joinpath('a')"],
)  # fmt: skip
def test_whole_numbers_decimals_and_waiting_are_not(source: str) -> None:
    assert findings(source) == []


def test_columns_of_floating_point_are_found() -> None:
    sql = (
        "CREATE TABLE t (\n  a double precision, -- real\n  b float8 DEFAULT 1,\n  c text CHECK (c <> 'real'), d real)"
    )
    assert columns(sql) == ["2: double precision", "3: float8", "4: real"]
    assert columns("a numeric(18, 12), b bigint, reality text") == []


def test_there_is_none_now(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0, capsys.readouterr().out
