"""Anomalies of an organization as a file: page by page, so that no connection is held while somebody reads."""

import csv
import io
from collections.abc import Callable, Iterator
from typing import Literal

import orjson

from pipeline.export import harmless, plain
from pipeline.tenants.anomalies import MOST_A_PAGE, Listed, Page

COLUMNS = tuple(Listed.__dataclass_fields__)


def anomalies(page_after: Callable[[str | None, int], Page], form: Literal["ndjson", "csv"]) -> Iterator[bytes]:
    """The bytes of the file, a page at a time. `page_after` gives the page after a cursor."""
    if form == "csv":
        yield (",".join(COLUMNS) + "\n").encode()
    cursor: str | None = None
    while True:
        page = page_after(cursor, MOST_A_PAGE)
        yield b"".join(_line(item, form) for item in page.items)
        cursor = page.next_cursor
        if cursor is None:
            return


def _line(item: Listed, form: Literal["ndjson", "csv"]) -> bytes:
    values = {name: getattr(item, name) for name in COLUMNS}
    if form == "ndjson":
        return orjson.dumps(values, default=plain, option=orjson.OPT_APPEND_NEWLINE)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([harmless(plain(value)) for value in values.values()])
    return out.getvalue().encode()
