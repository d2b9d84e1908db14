"""Kernel that reads one event: a JSON object where it is one, else text."""

from detectors.jit import Bytes, Longs, inner
from detectors.layout import C_FIELDS, C_HAS_TEXT, C_JSON, C_TEMPLATE
from detectors.objects import scan_json
from detectors.tokens import SEED, add_burst, mix, scan_words


@inner
def read_event(body: Bytes, start: int, end: int, tok: Longs, lines: Longs, burst: Longs, c: Longs) -> None:
    """Fill rows, burst tokens and counts of one event, JSON if it is a JSON object, else text."""
    for k in range(len(c)):
        c[k] = 0
    i = start
    while i < end and body[i] <= 32:
        i += 1
    if i < end and body[i] == 123:
        if scan_json(body, i, end, tok, lines, burst, c):
            c[C_JSON] = 1
            add_burst(burst, c, mix(c[C_TEMPLATE], 5), -1, -1)
            return
        for k in range(len(c)):
            c[k] = 0
    c[C_TEMPLATE] = scan_words(body, start, end, SEED, 0, 1, tok, lines, burst, c)
    c[C_FIELDS] = 1
    c[C_HAS_TEXT] = 1
    add_burst(burst, c, mix(c[C_TEMPLATE], 5), -1, -1)
