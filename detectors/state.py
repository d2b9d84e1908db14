"""The state of one stream: flat integer arrays, and their self-describing bytes."""

import struct
from dataclasses import dataclass

import numpy as np
import zstandard
from numpy.typing import NDArray

from detectors import layout as at
from detectors.kernel import grow, reindex

VERSION = 3
MAGIC = b"DLS"
MAX_BYTES = 512 << 10
_LEVEL = 1
_NAMES = (
    "head", "buckets", "contexts", "places", "ring", "slots", "symbols", "reference", "samples", "ids",
    "numbers", "histograms", "seen", "partners", "tails", "kinds", "texts", "timing",
)  # fmt: skip
_SAVED = (
    "<i8", "<i8", "<i8", "<i4", "<u2", "<i4", "<i4", "<i4", "<u1", "<i8",
    "<i8", "<i4", "<i8", "<u1", "<u2", "<i8", "<u1", "<i8",
)  # fmt: skip
_SLOTS = (64, 128, 256, 512)
_SYMBOLS = (1024, 4096, 16384)
_PAIRS = (512, 2048, 8192)
"""Sizes of the tables that grow, as `make_room` makes them."""


class StateError(ValueError):
    """Bytes are not a saved state of this release: score the stream anew."""


@dataclass
class State:
    """What is known of one stream. `score` updates it in place; at most 1 MiB, about 350 KiB for a little-used stream."""

    head: NDArray[np.int64]
    buckets: NDArray[np.int64]
    contexts: NDArray[np.int64]
    places: NDArray[np.int32]
    ring: NDArray[np.uint16]
    slots: NDArray[np.int32]
    symbols: NDArray[np.int64]
    reference: NDArray[np.int32]
    samples: NDArray[np.uint8]
    numbers: NDArray[np.int64]
    histograms: NDArray[np.int32]
    ids: NDArray[np.int64]
    index: NDArray[np.int16]
    seen: NDArray[np.int64]
    partners: NDArray[np.uint8]
    tails: NDArray[np.uint16]
    kinds: NDArray[np.int64]
    texts: NDArray[np.uint8]
    timing: NDArray[np.int64]
    first_event: bytes = b""
    last_event: bytes = b""


def new_state() -> State:
    """The state of a stream that was never seen."""
    head = np.zeros(at.HEAD, np.int64)
    head[at.H_OPENED_AT] = -1
    head[at.H_SCORED_AT] = -1
    head[at.H_DUE] = at.NEVER
    return State(
        head,
        np.zeros((at.BUCKETS, 2), np.int64),
        np.zeros((at.CONTEXTS, 2), np.int64),
        np.zeros(at.RING_EVENTS, np.int32),
        np.zeros(at.RING, np.uint16),
        np.zeros(at.SLOTS_FIRST * at.SLOT_COLUMNS, np.int32),
        np.zeros(at.SYMBOLS_FIRST, np.int64),
        np.zeros((at.GROUPS, 2 * at.REFERENCE + at.LEARN_EVERY), np.int32),
        np.zeros((at.BASELINE_SAMPLES + at.WINDOW_SAMPLES) * at.SAMPLE + at.PEAK_BYTES, np.uint8),
        np.zeros((at.FIELDS, at.N_COLUMNS), np.int64),
        np.zeros((at.FIELDS, at.HISTOGRAM), np.int32),
        np.zeros(0, np.int64),
        np.zeros(0, np.int16),
        np.zeros(2 * at.FILTER_FIRST, np.int64),
        np.zeros(at.PARTNERS, np.uint8),
        np.zeros(at.PAIR_ROWS * at.PAIR_COLUMNS, np.uint16),
        np.zeros(3 * at.KINDS, np.int64),
        np.zeros(at.KINDS * at.KIND_TEXT, np.uint8),
        np.zeros(at.TIMING, np.int64),
    )


def dump(state: State) -> bytes:
    """The state as bytes: magic, version, and one zstd frame of `dump_raw`; at most 512 KiB."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    data = MAGIC + bytes([VERSION]) + compressor.compress(dump_raw(state))
    if len(data) > MAX_BYTES:
        raise StateError(f"a state of {len(data)} bytes is over the limit of {MAX_BYTES}")
    return data


def dump_raw(state: State) -> bytes:
    """The state before compression: each array, the open episode's first event and the stream's last, with their lengths."""
    n = int(state.head[at.H_REF_N])
    parts: list[bytes] = []
    for name, kind in zip(_NAMES, _SAVED, strict=True):
        values = getattr(state, name)
        if name == "buckets":
            values = np.stack((values[:, 0], values[:, 1] & at.LOW24))  # the stamp means nothing outside this process
        elif name == "contexts":
            values = values.T  # like beside like compresses better
        elif name == "reference":
            values = np.concatenate(
                (values[:, :n], values[:, 2 * at.REFERENCE :]), axis=1
            )  # its sorted half is made again
        elif name == "symbols":
            values = np.stack(((values >> at.COUNT_BITS).astype("<i4"), (values & at.COUNT_MASK).astype("<i4")))
        elif name == "ids":
            values = values[: int(state.head[at.H_IDS])]
        data = np.ascontiguousarray(values, kind).tobytes()
        parts += (struct.pack("<I", len(data)), data)
    for reference in (state.first_event, state.last_event):
        parts += (struct.pack("<I", len(reference)), reference)
    return b"".join(parts)


def load(data: bytes) -> State:
    """The state that `dump` saved; `StateError` on anything else."""
    if data[:3] != MAGIC:
        raise StateError("these bytes are not a detector's state")
    if data[3:4] != bytes([VERSION]):
        raise StateError(f"a state has version {data[3] if len(data) > 3 else 'none'}, this release reads {VERSION}")
    try:
        raw = zstandard.ZstdDecompressor().decompress(data[4:], max_output_size=4 << 20)
        return _parse(raw)
    except (zstandard.ZstdError, struct.error, ValueError, IndexError) as error:
        raise StateError(f"a detector's state can't be read: {error}") from error


def _parse(raw: bytes) -> State:
    fields: list[bytes] = []
    place = 0
    for _ in range(len(_NAMES) + 2):
        (size,) = struct.unpack_from("<I", raw, place)
        fields.append(raw[place + 4 : place + 4 + size])
        if len(fields[-1]) != size:
            raise ValueError("it is cut off")
        place += 4 + size
    if place != len(raw):
        raise ValueError("it has bytes left over")
    saved = {name: np.frombuffer(data, kind) for name, kind, data in zip(_NAMES, _SAVED, fields, strict=False)}
    state = new_state()
    head = saved["head"]
    if len(head) != at.HEAD:
        raise ValueError("its head has another size")
    for name in (
        "head",
        "places",
        "ring",
        "samples",
        "numbers",
        "histograms",
        "partners",
        "tails",
        "kinds",
        "texts",
        "timing",
    ):
        array = getattr(state, name)
        array[...] = saved[name].reshape(array.shape)
    state.buckets[:, :] = saved["buckets"].reshape(2, at.BUCKETS).T
    state.contexts[:, :] = saved["contexts"].reshape(2, at.CONTEXTS).T
    state.slots = saved["slots"].astype(np.int32)
    symbols = saved["symbols"].reshape(2, -1).astype(np.int64)
    state.symbols = (symbols[0] << at.COUNT_BITS) | symbols[1]
    state.seen = saved["seen"].astype(np.int64)
    if (
        len(state.slots) // at.SLOT_COLUMNS not in _SLOTS
        or len(state.symbols) not in _SYMBOLS
        or len(state.seen) not in _PAIRS
    ):
        raise ValueError("its tables have sizes that this release does not make")
    n = int(head[at.H_REF_N])
    reference = saved["reference"].reshape(at.GROUPS, -1)
    state.reference[:, :n] = reference[:, :n]
    state.reference[:, at.REFERENCE : at.REFERENCE + n] = np.sort(reference[:, :n])
    state.reference[:, 2 * at.REFERENCE :] = reference[:, n:]
    ids = saved["ids"]
    if len(ids) != head[at.H_IDS] or len(ids) > at.ID_RING:
        raise ValueError("its ring of ids does not fit its head")
    if len(ids):
        room_for_ids(state)
        state.ids[: len(ids)] = ids
        reindex(state.head, state.ids, state.index)
    state.first_event, state.last_event = fields[-2:]
    return state


def room_for_ids(state: State) -> None:
    """Make the ring of ids, once the first id is given."""
    state.ids = np.zeros(at.ID_RING, np.int64)
    state.index = np.zeros(at.ID_INDEX, np.int16)


def make_room(state: State, reason: int) -> None:
    """A larger table of slots, of symbols or of pairs (`reason` is the kernel's), because the next event may not fit."""
    slots, symbols, seen = state.slots, state.symbols, state.seen
    if reason == at.GROW_SLOTS:
        slots = np.zeros(2 * len(slots), np.int32)
    elif reason == at.GROW_SYMBOLS:
        symbols = np.zeros(4 * len(symbols), np.int64)
    else:
        seen = np.zeros(min(4 * len(seen), 2 * at.FILTER_MAX), np.int64)
        state.head[at.H_PAIR_N] = 0
    grow(state.slots, slots, state.symbols, symbols, state.seen, seen)
    state.slots, state.symbols, state.seen = slots, symbols, seen
