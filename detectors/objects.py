# ruff: noqa: C901, PLR0911, PLR0912, PLR0915, PLR1714 (one pass over bytes; numba compiles comparisons better than tuples)
"""Kernels that read a JSON event by path: keys, strings, numbers and constants as rows of hashes, in any order of the keys."""

import numpy as np

from detectors.jit import Bytes, Longs, i64, inner
from detectors.layout import (
    C_FIELDS,
    C_HAS_TEXT,
    C_STRUCTURE,
    C_TEMPLATE,
    C_TOKENS,
    MAX_DEPTH,
    MAX_TOKENS,
    NO_NUMBER,
    T_COARSE,
    T_END,
    T_EXPONENT,
    T_FIELD,
    T_MANTISSA,
    T_NUMBER,
    T_RAW,
    T_SLOT,
    T_START,
)
from detectors.logs import log2
from detectors.tokens import MASK, SEED, add_burst, mix, scan_words

TENS = 217706  # round(2^16 * log2 10)


@inner
def read_number(body: Bytes, start: int, end: int) -> tuple[int, int, int, int]:
    """JSON number in body[start:end]: sign * 2^16 * log2(1 + 1000 |v|), the small integer it is or -1, mantissa, exponent.

    Integers only; v = mantissa * 10^exponent but for what is beyond 18 leading digits. Exponents saturate at 400.
    """
    i = start
    negative = 0
    if body[i] == 45:
        negative = 1
        i += 1
    mantissa = i64(0)
    digits = 0
    dropped = 0
    exponent = 0
    fraction = 0
    small = 1
    while i < end:
        b = i64(body[i])
        if 48 <= b <= 57:
            if digits < 18:
                mantissa = mantissa * 10 + (b - 48)
                if mantissa > 0:
                    digits += 1
                exponent -= fraction
            else:
                dropped += 1 - fraction
        elif b == 46:
            fraction = 1
            small = 0
        else:
            break
        i += 1
    if i < end:
        small = 0
        i += 1
        sign = 1
        if i < end and (body[i] == 45 or body[i] == 43):
            sign = -1 if body[i] == 45 else 1
            i += 1
        power = 0
        while i < end and power < 1000:
            b = i64(body[i])
            if b < 48 or b > 57:
                break
            power = power * 10 + (b - 48)
            i += 1
        exponent += sign * power
    exponent += dropped
    if mantissa == 0:
        return i64(0), i64(0) if small else i64(-1), i64(0), i64(0)
    value = log2(mantissa) + min(max(exponent + 3, -400), 400) * TENS
    if value <= 0:
        value = i64(0)
    is_small = small == 1 and negative == 0 and mantissa < 1024
    exponent = min(max(exponent, -400), 400)
    small_value = mantissa if is_small else i64(-1)
    if negative:
        return -value, small_value, -mantissa, i64(exponent)
    return value, small_value, mantissa, i64(exponent)


@inner
def add_value(body: Bytes, start: int, end: int, path: int, kind: int, tok: Longs, burst: Longs, c: Longs) -> None:
    """A number, true, false or null of JSON as one row; `kind` is 1 for a number."""
    raw = i64(SEED)
    for i in range(start, end):
        raw = ((raw ^ i64(body[i])) * 16777619) & MASK
    coarse = raw
    number = i64(NO_NUMBER)
    small = i64(0)
    mantissa = i64(0)
    exponent = i64(0)
    if kind == 1:
        number, small, mantissa, exponent = read_number(body, start, end)
        coarse = mix(SEED, ((number >> 15) & 0xFFFFF) + (1 << 21))
        c[C_TEMPLATE] = (c[C_TEMPLATE] + mix(path, 11)) & MASK
    else:
        c[C_TEMPLATE] = (c[C_TEMPLATE] + mix(path, raw)) & MASK
    c[C_STRUCTURE] = (c[C_STRUCTURE] + mix(path, 20 + kind)) & MASK
    row = c[C_TOKENS]
    if row < MAX_TOKENS:
        tok[row, T_SLOT] = mix(path, 13) >> 1
        tok[row, T_RAW] = raw
        tok[row, T_COARSE] = coarse
        tok[row, T_NUMBER] = number
        tok[row, T_START] = start
        tok[row, T_END] = end
        tok[row, T_FIELD] = c[C_FIELDS]
        tok[row, T_MANTISSA] = mantissa
        tok[row, T_EXPONENT] = exponent
        c[C_TOKENS] = row + 1
        if small >= 0:
            add_burst(burst, c, mix(path, raw), row, -1)
    elif small >= 0:
        add_burst(burst, c, mix(path, raw), -1, -1)
    c[C_FIELDS] += 1


@inner
def add_string(body: Bytes, start: int, end: int, path: int, tok: Longs, lines: Longs, burst: Longs, c: Longs) -> None:
    """A string of JSON: its words as rows, the whole of it as one token of the burst channel."""
    raw = i64(SEED)
    for i in range(start, end):
        raw = ((raw ^ i64(body[i])) * 16777619) & MASK
    row = c[C_TOKENS]
    add_burst(burst, c, mix(path, raw), row if row < MAX_TOKENS else -1, -1)
    template = scan_words(body, start, end, path, c[C_FIELDS], 0, tok, lines, burst, c)
    c[C_TEMPLATE] = (c[C_TEMPLATE] + mix(path, template)) & MASK
    c[C_STRUCTURE] = (c[C_STRUCTURE] + mix(path, 30)) & MASK
    c[C_FIELDS] += 1
    c[C_HAS_TEXT] = 1


@inner
def string_end(body: Bytes, i: int, end: int) -> int:
    """Where the string that starts after its quote at `i` ends (its closing quote), or -1."""
    while i < end:
        b = body[i]
        if b == 34:
            return i
        if b == 92:
            i += 1
        i += 1
    return -1


@inner
def ignored(body: Bytes, start: int, end: int) -> bool:
    """Whether a key of the top level is part of the envelope: event_id or stream."""
    n = end - start
    if n == 8:
        return bool(
            body[start] == 101
            and body[start + 1] == 118
            and body[start + 2] == 101
            and body[start + 3] == 110
            and body[start + 4] == 116
            and body[start + 5] == 95
            and body[start + 6] == 105
            and body[start + 7] == 100
        )
    if n == 6:
        return bool(
            body[start] == 115
            and body[start + 1] == 116
            and body[start + 2] == 114
            and body[start + 3] == 101
            and body[start + 4] == 97
            and body[start + 5] == 109
        )
    return False


@inner
def scan_json(body: Bytes, start: int, end: int, tok: Longs, lines: Longs, burst: Longs, c: Longs) -> bool:
    """Rows of the JSON object body[start:end]; False where it is not one (or deeper than 32): then it is text."""
    path_of = np.zeros(MAX_DEPTH + 1, np.int64)
    array_at = np.zeros(MAX_DEPTH + 1, np.int64)
    depth = 0
    skip_from = -1
    path = i64(SEED)
    state = 0  # 0 value, 1 key or end, 2 comma or end, 3 key, 4 value or end of array
    i = start
    while i < end:
        b = body[i]
        if b == 32 or b == 10 or b == 13 or b == 9:
            i += 1
            continue
        if depth == 0 and state == 2:
            return False
        if state == 0 or state == 4:
            if b == 123 or b == 91:
                if depth >= MAX_DEPTH:
                    return False
                depth += 1
                array_at[depth] = 1 if b == 91 else 0
                path_of[depth] = mix(path, 91) if b == 91 else path
                path = path_of[depth]
                state = 4 if b == 91 else 1
                i += 1
                continue
            if b == 93 and state == 4:
                if skip_from < 0:
                    c[C_STRUCTURE] = (c[C_STRUCTURE] + mix(path, 40)) & MASK
                depth -= 1
                path = path_of[depth]
                state = 2
                i += 1
                if depth <= skip_from:
                    skip_from = -1
                continue
            if b == 34:
                stop = string_end(body, i + 1, end)
                if stop < 0:
                    return False
                if skip_from < 0:
                    add_string(body, i + 1, stop, path, tok, lines, burst, c)
                i = stop + 1
            else:
                stop = i
                while stop < end:
                    v = body[stop]
                    if v == 44 or v == 125 or v == 93 or v <= 32:
                        break
                    stop += 1
                kind = 0
                if b == 45 or 48 <= b <= 57:
                    kind = 1
                    for j in range(i, stop):
                        v = body[j]
                        if not (48 <= v <= 57 or v == 43 or v == 45 or v == 46 or v == 101 or v == 69):
                            return False
                elif not (stop - i <= 5 and (b == 116 or b == 102 or b == 110)):
                    return False
                if skip_from < 0:
                    add_value(body, i, stop, path, kind, tok, burst, c)
                i = stop
            state = 2
            if depth == skip_from:
                skip_from = -1
        elif state == 1 or state == 3:
            if b == 125 and state == 1:
                if skip_from < 0:
                    c[C_STRUCTURE] = (c[C_STRUCTURE] + mix(path, 41)) & MASK
                depth -= 1
                path = path_of[depth]
                state = 2
                i += 1
                if depth <= skip_from:
                    skip_from = -1
                continue
            if b != 34:
                return False
            stop = string_end(body, i + 1, end)
            if stop < 0:
                return False
            key = i64(SEED)
            for j in range(i + 1, stop):
                key = ((key ^ i64(body[j])) * 16777619) & MASK
            if depth == 1 and ignored(body, i + 1, stop):
                skip_from = 1
            path = mix(path_of[depth], key)
            i = stop + 1
            while i < end and body[i] <= 32:
                i += 1
            if i >= end or body[i] != 58:
                return False
            i += 1
            state = 0
        else:
            path = path_of[depth]
            if b == 44:
                state = 0 if array_at[depth] else 3
            elif (b == 125 and not array_at[depth]) or (b == 93 and array_at[depth]):
                depth -= 1
                path = path_of[depth]
                if depth <= skip_from:
                    skip_from = -1
            else:
                return False
            i += 1
    return depth == 0 and state == 2
