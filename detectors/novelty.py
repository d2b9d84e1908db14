# ruff: noqa: C901, PLR0912, PLR0915 (one pass with its state in locals: split further, a kernel reads worse)
"""Kernel of novelty: what an event's template, structure, slots and pairs cost in bits against all that was seen in them.

A symbol after n events of its slot with d different symbols: new, log2((n + 1) / (d + 1/2)), so a slot that is always new
gives nothing; seen, log2((n + 1) / (min(n, d + M) + 1/2)), M the mass of symbols at most as frequent (in octaves); both
capped by how often the slot gave such bits before.
template = template + mean over fields of their largest slot + mean over slots
value = (largest slot - log2 slots) + (largest pair - log2 joined) + 2 * structure, differences only where positive: the largest
of k costs reaches b bits k times as often as one does (Bonferroni).
"""

from detectors.fields import is_metric
from detectors.jit import Ints, Longs, i64, inner
from detectors.layout import (
    C_FIELDS,
    C_HAS_TEXT,
    C_JSON,
    C_STRUCTURE,
    C_TEMPLATE,
    C_TOKENS,
    COUNT_BITS,
    COUNT_MASK,
    FRESH_BINS,
    H_SLOTS,
    H_SYMBOLS,
    J_COUNT,
    J_ROW,
    J_SLOT,
    J_SYMBOL,
    KEY_OTHER,
    KEY_STRUCTURE,
    KEY_TEMPLATE,
    MOST_JOINED,
    NO_NUMBER,
    OCTAVES,
    PAIR_WARM,
    S_CHANGES,
    S_DISTANCE,
    S_DISTINCT,
    S_KEY,
    S_KNOWN,
    S_KNOWN_NEXT,
    S_LAST,
    S_MASS,
    S_MEAN,
    S_N,
    S_NUMBERS,
    S_SINCE,
    S_SINCE_NEXT,
    S_STEPS,
    S_TAIL,
    SET,
    SLOT_COLUMNS,
    SLOT_WARM,
    SLOTS_MAX,
    T_COARSE,
    T_FIELD,
    T_MOVES,
    T_NUMBER,
    T_RAW,
    T_SLOT,
    TAIL_BINS,
)
from detectors.logs import log2
from detectors.tables import BIT
from detectors.tokens import mix


@inner
def find_slot(head: Longs, slots: Ints, key: int) -> int:
    """Row of a slot, made if new; once the table is full, all further slots share one row."""
    capacity = len(slots) // SLOT_COLUMNS
    i = mix(key, 3) & (capacity - 1)
    while True:
        held = i64(slots[i * SLOT_COLUMNS + S_KEY])
        if held == key:
            return i
        if held == 0:
            if capacity == SLOTS_MAX and head[H_SLOTS] >= SLOTS_MAX * 3 // 4 and key != KEY_OTHER:
                return find_other(head, slots)
            slots[i * SLOT_COLUMNS + S_KEY] = key
            head[H_SLOTS] += 1
            return i
        i = (i + 1) & (capacity - 1)


@inner
def find_other(head: Longs, slots: Ints) -> int:
    """Row that all slots share for which there is no room."""
    i = mix(KEY_OTHER, 3) & (SLOTS_MAX - 1)
    while slots[i * SLOT_COLUMNS + S_KEY] != KEY_OTHER:
        if slots[i * SLOT_COLUMNS + S_KEY] == 0:
            slots[i * SLOT_COLUMNS + S_KEY] = KEY_OTHER
            head[H_SLOTS] += 1
        else:
            i = (i + 1) & (SLOTS_MAX - 1)
    return i


@inner
def octave(count: int) -> int:
    """floor(log2 count), at most 15."""
    return min(log2(count) >> 16, OCTAVES - 1)


@inner
def cost(head: Longs, slots: Ints, symbols: Longs, row: int, which: int, symbol: int) -> tuple[int, int, int]:
    """(bits 2^-16, times seen, bits as lately) of a symbol in its slot, and learn it; `which`: 0 the raw symbol, 1 the coarse one.

    As lately: of a new symbol log2((n + 1) / (d + 1/2)) since a quarter to a half of the slot's events. What a closed vocabulary
    says of a new word; as evidence for a score it is too nervous where words come in bouts, as a bound on a p-value it is fair.
    """
    base = row * SLOT_COLUMNS
    n = i64(slots[base + S_N])
    d = i64(slots[base + S_DISTINCT[which]])
    key = mix(mix(i64(slots[base + S_KEY]), symbol), which + 1)
    sets = len(symbols) // SET
    first = (key & (sets - 1)) * SET
    tag = (key >> 2) | (1 << 30)
    count = i64(0)
    at = -1
    least = i64(1) << 62
    victim = first
    for j in range(first, first + SET):
        entry = symbols[j]
        if entry >> COUNT_BITS == tag:
            count = entry & COUNT_MASK
            at = j
            break
        seen = entry & COUNT_MASK
        if seen < least:
            least = seen
            victim = j
    bits = i64(0)
    lately = i64(0)
    if n >= SLOT_WARM and 2 * count <= n:  # what half of the events hold costs less than a bit: nothing
        alike = d
        if count > 0:
            for o in range(octave(count) + 1):
                alike += slots[base + S_MASS[which] + o]
        everything = log2(2 * n + 2)
        bits = everything - log2(2 * min(n, alike) + 1)
        if bits < BIT:
            bits = i64(0)
        else:
            tail = i64(0)
            bin_ = min(bits >> 16, TAIL_BINS - 1)
            for b in range(bin_, TAIL_BINS):
                tail += slots[base + S_TAIL[which] + b]
            slots[base + S_TAIL[which] + bin_] += 1
            bits = min(bits, everything - log2(2 * tail + 1))
        lately = bits
        if count == 0:
            known = d - i64(slots[base + S_KNOWN[which]])
            lately = log2(2 * (n - i64(slots[base + S_SINCE])) + 2) - log2(2 * known + 1)
    if count == 0:
        slots[base + S_DISTINCT[which]] += 1
        # an identifier's symbols are mostly new: only one in 8, chosen by its hash, takes room in the table
        if n < 128 or 2 * d < n or symbol & 7 == 0:
            if least == 0:
                head[H_SYMBOLS] += 1
            symbols[victim] = (tag << COUNT_BITS) | 1
            slots[base + S_MASS[which]] += 1
    elif count < COUNT_MASK:
        before = octave(count)
        if count & (count + 1) or before == OCTAVES - 1:
            slots[base + S_MASS[which] + before] += 1
        else:
            slots[base + S_MASS[which] + before] -= count
            slots[base + S_MASS[which] + before + 1] += count + 1
        symbols[at] += 1
    return bits, count, lately


@inner
def learn_slot(slots: Ints, base: int) -> None:
    """One more event of a slot, after its symbols."""
    n = i64(slots[base + S_N]) + 1
    slots[base + S_N] = n
    if n & (n - 1) == 0:
        slots[base + S_SINCE] = slots[base + S_SINCE_NEXT]
        slots[base + S_SINCE_NEXT] = n
        for which in range(2):
            slots[base + S_KNOWN[which]] = slots[base + S_KNOWN_NEXT[which]]
            slots[base + S_KNOWN_NEXT[which]] = slots[base + S_DISTINCT[which]]


@inner
def moves_like_series(slots: Ints, base: int, value: int) -> bool:
    """Learn a number (2^16 * log2) in its slot; whether it changes in half its steps, by at most 3/4 of what it lies from its mean.

    Independent values step at least as far as they lie from their mean, whatever their distribution.
    """
    n = i64(slots[base + S_NUMBERS])
    moves = False
    v = value >> 8
    if n > 0:
        step = abs(v - i64(slots[base + S_LAST]))
        mean = i64(slots[base + S_MEAN])
        distance = abs(v - (mean >> 6))
        moves = (
            n >= SLOT_WARM
            and 2 * i64(slots[base + S_CHANGES]) >= 1 << 16
            and 4 * i64(slots[base + S_STEPS]) <= 3 * i64(slots[base + S_DISTANCE])
        )
        slots[base + S_STEPS] += ((step << 6) - i64(slots[base + S_STEPS])) >> 6
        slots[base + S_DISTANCE] += ((distance << 6) - i64(slots[base + S_DISTANCE])) >> 6
        changed = 1 << 16 if step > 0 else 0
        slots[base + S_CHANGES] += (changed - i64(slots[base + S_CHANGES])) >> 6
        slots[base + S_MEAN] += v - (mean >> 6)
    else:
        slots[base + S_MEAN] = v << 6
    slots[base + S_LAST] = v
    slots[base + S_NUMBERS] = min(n + 1, 1 << 20)
    return moves


@inner
def plant(head: Longs, slots: Ints, symbols: Longs, row: int, symbol: int, count: int) -> None:
    """Begin a slot with `count` events that all held one raw symbol."""
    base = row * SLOT_COLUMNS
    cost(head, slots, symbols, row, 0, symbol)
    slots[base + S_N] = count
    slots[base + S_MASS[0]] -= 1
    slots[base + S_MASS[0] + octave(count)] += count
    key = mix(mix(i64(slots[base + S_KEY]), symbol), 1)
    first = (key & (len(symbols) // SET - 1)) * SET
    tag = (key >> 2) | (1 << 30)
    for j in range(first, first + SET):
        if symbols[j] >> COUNT_BITS == tag:
            symbols[j] = (tag << COUNT_BITS) | count


@inner
def score_novelty(
    head: Longs, slots: Ints, symbols: Longs, tok: Longs, c: Longs, costs: Longs, joined: Longs, fresh: Longs
) -> tuple[int, int, int, int, int]:
    """(template, largest slot less its look-elsewhere bits, structure, symbols that join, bound) in bits, 2^-16; pairs come after.

    Bound: no p-value from these is below 2^-bound. The j-th largest of k bits as lately, less log2(k / j), holds however slots
    depend on each other (Rueger, 1978); the largest over j, the template's and the structure's.

    costs[i] gets the bits of row i, costs[-2:] those of template and structure; `joined` the symbols of slots with few of them.
    """
    row = find_slot(head, slots, KEY_TEMPLATE)
    template, _, new_template = cost(head, slots, symbols, row, 0, c[C_TEMPLATE])
    learn_slot(slots, row * SLOT_COLUMNS)
    row = find_slot(head, slots, KEY_STRUCTURE)
    structure, _, new_structure = cost(head, slots, symbols, row, 0, c[C_STRUCTURE] ^ c[C_JSON])
    learn_slot(slots, row * SLOT_COLUMNS)
    n = c[C_TOKENS]
    total = i64(0)
    largest = i64(0)
    fields = i64(0)
    in_field = i64(0)
    field = i64(-1)
    joins = 0
    for i in range(n):
        row = find_slot(head, slots, tok[i, T_SLOT] | 8)
        base = row * SLOT_COLUMNS
        events = i64(slots[base + S_N])
        different = i64(slots[base + S_DISTINCT[0]])
        alike = i64(slots[base + S_DISTINCT[1]])
        of_raw, seen_raw, new_raw = cost(head, slots, symbols, row, 0, tok[i, T_RAW])
        of_coarse, seen_coarse, new_coarse = cost(head, slots, symbols, row, 1, tok[i, T_COARSE])
        learn_slot(slots, base)
        bits = max(of_raw, of_coarse)
        if tok[i, T_NUMBER] > NO_NUMBER:
            moves = moves_like_series(slots, base, tok[i, T_NUMBER])
            tok[i, T_MOVES] = 1 if moves else 0
            if (
                moves or c[C_HAS_TEXT] or is_metric(head)
            ):  # number.py has what moves; counters and sizes would drown all
                costs[i] = 0
                continue
        if joins < MOST_JOINED and events >= PAIR_WARM and 4 * min(different, alike) < events:
            raw = 4 * different < events
            joined[joins, J_SYMBOL] = mix(tok[i, T_SLOT], tok[i, T_RAW] if raw else tok[i, T_COARSE] ^ 1)
            joined[joins, J_SLOT] = tok[i, T_SLOT]
            joined[joins, J_COUNT] = seen_raw if raw else seen_coarse
            joined[joins, J_ROW] = i
            joins += 1
        costs[i] = bits
        fresh[min(max(new_raw, new_coarse) >> 14, FRESH_BINS - 1)] += 1
        if tok[i, T_FIELD] != field:
            fields += in_field
            in_field = i64(0)
            field = tok[i, T_FIELD]
        in_field = max(in_field, bits)
        largest = max(largest, bits)
        total += bits
    fields += in_field
    bound = max(new_template, new_structure)
    reached = i64(0)
    for b in range(FRESH_BINS - 1, 0, -1):
        if fresh[b] > 0:
            reached += fresh[b]
            fresh[b] = 0
            bound = max(bound, ((b + 1) << 14) - log2(n) + log2(reached))
    fresh[0] = 0
    costs[len(costs) - 2] = template
    costs[len(costs) - 1] = structure
    if n == 0:
        return template, i64(0), structure, joins, bound
    return (
        template + fields // c[C_FIELDS] + total // n,
        max(largest - log2(n), i64(0)),
        structure,
        joins,
        bound,
    )


@inner
def grow_symbols(old: Longs, new: Longs) -> None:
    """Move all symbols to a table of four times the size. Its sets are told apart by the key's next bits."""
    for i in range(len(old)):
        entry = old[i]
        if entry == 0:
            continue
        set_ = i // SET
        # the low bits of the key are the set's number; the tag holds key >> 2, so the next bits are in it
        key = (((entry >> COUNT_BITS) & ((1 << 30) - 1)) << 2) & (len(new) // SET - 1)
        first = ((key & ~(len(old) // SET - 1)) | set_) * SET
        j = first
        while new[j] != 0:
            j += 1
        new[j] = entry


@inner
def grow_slots(old: Ints, new: Ints) -> None:
    """Move all slots to a larger table."""
    capacity = len(new) // SLOT_COLUMNS
    for i in range(len(old) // SLOT_COLUMNS):
        key = i64(old[i * SLOT_COLUMNS + S_KEY])
        if key == 0:
            continue
        j = mix(key, 3) & (capacity - 1)
        while new[j * SLOT_COLUMNS + S_KEY] != 0:
            j = (j + 1) & (capacity - 1)
        for k in range(SLOT_COLUMNS):
            new[j * SLOT_COLUMNS + k] = old[i * SLOT_COLUMNS + k]
