# ruff: noqa: C901, PLR0912, PLR0915, PLR1714, SIM109 (one pass over bytes; numba compiles comparisons better than tuples)
"""Kernels that read an event's bytes: words and masks of text as hashes, with no Python object per event.

A token is a row (slot, raw symbol, coarse symbol, number, start, end, field); hashes are 32 bits in int64, so that no
product overflows. Only the first 256 tokens of an event become rows; the rest of its bytes is one hash. Of text with several
lines the first one gives rows; each line is a kind of line (sessions.py).
"""

import numpy as np
from numpy.typing import NDArray

from detectors.jit import Bytes, Longs, i64, inner
from detectors.layout import (
    BURST_TOKENS,
    C_BURST,
    C_LINES,
    C_STRUCTURE,
    C_TOKENS,
    C_WORDS,
    IS_STRUCTURE,
    KEY_REST,
    LINE_END,
    LINE_KIND,
    LINE_START,
    MAX_LINES,
    MAX_TOKENS,
    MAX_WORDS,
    NO_NUMBER,
    T_COARSE,
    T_END,
    T_FIELD,
    T_NUMBER,
    T_RAW,
    T_SLOT,
    T_START,
)

SEPARATOR, STRUCTURE, DIGIT, HEX, LETTER, INSIDE = range(6)
MASK = 0xFFFFFFFF
SEED = 0x811C9DC5


def _classes() -> NDArray[np.int64]:
    kinds = np.full(256, INSIDE, np.int64)
    for b in range(256):
        c = chr(b)
        if b <= 32 or b == 127:
            kinds[b] = SEPARATOR
        elif c in "\"'[](){}<>|":
            kinds[b] = STRUCTURE
        elif c in ",;=\\":
            kinds[b] = SEPARATOR
        elif c.isascii() and c.isdigit():
            kinds[b] = DIGIT
        elif c in "abcdefABCDEF":
            kinds[b] = HEX
        elif (c.isascii() and c.isalpha()) or b >= 128:
            kinds[b] = LETTER
    return kinds


KIND = _classes()


@inner
def mix(h: int, v: int) -> int:
    """A new 32-bit hash of two."""
    h = ((h ^ v) * 0x2C1B3C6D) & MASK
    h = ((h ^ (h >> 15)) * 0x297A2D39) & MASK
    return h ^ (h >> 16)


@inner
def add_burst(burst: Longs, c: Longs, h: int, row: int, context: int) -> None:
    """Note a token for the burst channel; `row` is its row, -1 for the template; `context` that of a number, else -1."""
    n = c[C_BURST]
    if n < BURST_TOKENS:
        burst[n, 0] = h
        burst[n, 1] = row
        burst[n, 2] = context
        c[C_BURST] = n + 1


@inner
def scan_words(
    body: Bytes,
    start: int,
    end: int,
    path: int,
    field: int,
    text: int,
    tok: Longs,
    lines: Longs,
    burst: Longs,
    c: Longs,
) -> int:
    """Words of body[start:end] as rows with the slot mix(path, position); returns the hash of the masks of the first line.

    A run of letters and digits that holds a digit is masked: hexadecimal as a whole, else each run of digits in it. The coarse
    symbol is the mask with the lengths of its runs. A word of digits and signs has its slot by the mask of the word before it
    ("in 12 ms" is the same place wherever it stands). Structure is the sequence of quotes, and of brackets outside them.
    `text` is 1 for a line: then words and structure are the event's own; else the structure is a row as well.
    """
    i = start
    position = 0
    template = i64(SEED)
    before = i64(SEED)
    structure = i64(SEED)
    quoted = 0
    line_kind = i64(SEED)
    line_start = -1
    n_lines = 0
    while i < end:
        kind = KIND[body[i]]
        if kind <= STRUCTURE:
            b = i64(body[i])
            if kind == STRUCTURE and n_lines == 0 and (b == 34 or quoted == 0):
                structure = ((structure ^ b) * 16777619) & MASK
                if b == 34:
                    quoted = 1 - quoted
            if b == 10 and text and line_start >= 0:
                lines[n_lines, LINE_KIND] = line_kind
                lines[n_lines, LINE_START] = line_start
                lines[n_lines, LINE_END] = i
                n_lines += 1
                line_start = -1
                line_kind = i64(SEED)
                if n_lines == MAX_LINES:
                    break
            i += 1
            continue
        if n_lines == 0 and (c[C_TOKENS] >= MAX_TOKENS or position >= 4 * MAX_WORDS):
            break
        if line_start < 0:
            line_start = i
        word = i
        raw = i64(SEED)
        mask = i64(SEED)
        coarse = i64(SEED)
        run = i64(SEED)
        run_length = 0
        run_digits = 0
        run_other = 0
        in_digits = 0
        has_digit = 0
        letters = 0
        while True:
            kind = SEPARATOR
            b = i64(0)
            if i < end:
                b = i64(body[i])
                kind = KIND[b]
            if kind == DIGIT:
                if in_digits == 0:
                    run = ((run ^ 48) * 16777619) & MASK
                in_digits = 1
                run_digits += 1
                run_length += 1
            elif kind == HEX or kind == LETTER:
                run = ((run ^ b) * 16777619) & MASK
                in_digits = 0
                run_length += 1
                if kind == LETTER:
                    run_other += 1
            else:
                if run_length > 0:
                    if run_digits < run_length:
                        letters = 1
                    if run_digits == 0:
                        if text:
                            add_burst(
                                burst, c, mix(run, 7), c[C_TOKENS] if position < MAX_WORDS and n_lines == 0 else -1, -1
                            )
                        mask = mix(mask, run)
                        coarse = mix(coarse, run)
                    else:
                        has_digit = 1
                        if run_other == 0:
                            mask = mix(mask, 48)
                            coarse = mix(coarse, 256 + run_length)
                        else:
                            mask = mix(mask, run)
                            coarse = mix(mix(coarse, run), run_length)
                    run = i64(SEED)
                    run_length = 0
                    run_digits = 0
                    run_other = 0
                    in_digits = 0
                if kind != INSIDE:
                    break
                mask = ((mask ^ b) * 16777619) & MASK
                coarse = ((coarse ^ b) * 16777619) & MASK
            raw = ((raw ^ b) * 16777619) & MASK
            i += 1
        line_kind = mix(line_kind, i64(48) if has_digit else mask)
        row = c[C_TOKENS]
        placed = position < MAX_WORDS and n_lines == 0
        if placed:
            numeric = has_digit == 1 and letters == 0
            tok[row, T_SLOT] = (mix(mix(path, before), 14) if numeric else mix(path, position + 16)) >> 1
            tok[row, T_RAW] = raw
            tok[row, T_COARSE] = coarse if has_digit else raw
            tok[row, T_NUMBER] = NO_NUMBER
            tok[row, T_START] = word
            tok[row, T_END] = i
            tok[row, T_FIELD] = field
            c[C_TOKENS] = row + 1
        if text and has_digit:
            add_burst(burst, c, mix(raw, 7), row if placed else -1, mix(before, mask))
        before = mask
        if n_lines == 0:
            template = mix(template, mask)
            position += 1
    if i < end:
        rest = i64(SEED)
        while i < end:
            rest = ((rest ^ i64(body[i])) * 16777619) & MASK
            i += 1
        if n_lines == 0:
            template = mix(template, KEY_REST)
        if text:
            add_burst(burst, c, rest, -1, -1)
    if text:
        c[C_STRUCTURE] = structure
        if line_start >= 0 and n_lines < MAX_LINES:
            lines[n_lines, LINE_KIND] = line_kind
            lines[n_lines, LINE_START] = line_start
            lines[n_lines, LINE_END] = end
            n_lines += 1
        c[C_LINES] = n_lines
    elif position > 1 and c[C_TOKENS] < MAX_TOKENS:
        row = c[C_TOKENS]
        tok[row, T_SLOT] = mix(path, 15) >> 1
        tok[row, T_RAW] = structure
        tok[row, T_COARSE] = structure
        tok[row, T_NUMBER] = IS_STRUCTURE
        tok[row, T_START] = start
        tok[row, T_END] = end
        tok[row, T_FIELD] = field
        c[C_TOKENS] = row + 1
    c[C_WORDS] = position
    return template
