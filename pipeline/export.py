"""Rows and figures as a table for people, as CSV or as JSON, on standard output."""

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import orjson

Format = Literal["table", "csv", "json"]
Row = Mapping[str, Any]


def plain(value: object) -> str:
    """A value as text: times in ISO 8601 with Z, decimals without an exponent, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return format(value.normalize(), "f") if isinstance(value, Decimal) else str(value)


def dollars(cents: int) -> str:
    """Whole cents as dollars.

    >>> dollars(5900), dollars(-5), dollars(123456)
    ('$59.00', '-$0.05', '$1,234.56')
    """
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}${whole:,}.{rest:02}"


def as_json(value: object) -> None:
    """Write a value as one JSON document; money and rates are text."""
    sys.stdout.buffer.write(orjson.dumps(value, default=plain, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.flush()


def rows(found: Iterable[Row], columns: Sequence[str], form: Format) -> None:
    """Write rows, one by one where the form allows: CSV with a header, a JSON object a line, or an aligned table."""
    if form == "json":
        for row in found:
            sys.stdout.buffer.write(orjson.dumps(dict(row), default=plain, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.flush()
        return
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([harmless(plain(row[name])) for name in columns] for row in found)
        return
    texts = [list(columns), *([plain(row[name]) for name in columns] for row in found)]
    widths = [max(len(line[i]) for line in texts) for i in range(len(columns))]
    for line in texts:
        sys.stdout.write("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() + "\n")


def harmless(text: str) -> str:
    """A tenant's text that a spreadsheet would take for a formula, made text."""
    return f"'{text}" if text[:1] in {"=", "+", "@", "\t", "\r"} or (text[:1] == "-" and not _is_number(text)) else text


def _is_number(text: str) -> bool:
    return text[1:].replace(".", "", 1).isdigit()
