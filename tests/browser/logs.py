"""Telemetry for the tests in a browser: a shop's lines, and one that is unlike them."""

from pathlib import Path

LINES = 3_000
ODD = "kernel panic"


def normal(i: int) -> str:
    """A usual line."""
    return f"2026-11-24 10:{i // 60 % 60:02d}:{i % 60:02d} INFO shop.cart user={i * 7919 % 500} added item={i * 104729 % 900} in {3 + i * 31 % 9} ms"


def odd(i: int) -> str:
    """A line that no other is like."""
    return f"2026-11-24 10:{i // 60 % 60:02d}:{i % 60:02d} FATAL {ODD} - not syncing: attempted to kill init! exitcode=0x0000000b"


def write_log(path: Path) -> Path:
    """A log of LINES lines, of which the 2,500th is odd."""
    path.write_text("".join(f"{odd(i) if i == 2_499 else normal(i)}\n" for i in range(LINES)), "utf-8")
    return path
