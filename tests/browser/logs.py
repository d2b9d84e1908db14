"""Telemetry for the tests in a browser: a shop's lines, and one that is unlike them.

At the default sensitivity of one in 10,000 a single line can only be told once more than 10,000 were seen before it.
"""

from pathlib import Path

LINES = 12_000
ODD_LINE = 11_500
ODD = "kernel panic"


def normal(i: int) -> str:
    """A usual line."""
    return f"2026-11-24 10:{i // 60 % 60:02d}:{i % 60:02d} INFO shop.cart user={i * 7919 % 500} added item={i * 104729 % 900} in {3 + i * 31 % 9} ms"


def odd(i: int) -> str:
    """A line that no other is like."""
    return f"2026-11-24 10:{i // 60 % 60:02d}:{i % 60:02d} FATAL {ODD} - not syncing: attempted to kill init! exitcode=0x0000000b"


def lines() -> list[str]:
    """LINES lines, of which ODD_LINE (from 1 on) is odd."""
    return [odd(i) if i == ODD_LINE - 1 else normal(i) for i in range(LINES)]


def write_log(path: Path) -> Path:
    """A log of these lines."""
    path.write_text("".join(f"{line}\n" for line in lines()), "utf-8")
    return path
