"""Frames: what is encoded is decoded, and anything else is refused in one line."""

import contextlib
import struct

import numpy as np
import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from schemas import frames
from schemas.errors import FrameError
from schemas.frames import Block, Frame, Range

ORGANIZATION = "7a6f3f0c-4a3b-4a57-9a54-3d3f1d0f6a01"
SOURCE = Range("events", "topicid", 0, (5, 0), (99, 3), 1_700_000_000_000)

events = st.lists(
    st.tuples(
        st.integers(0, 2**40),
        st.integers(0, 2**31),
        st.integers(0, 2**45),
        st.binary(max_size=128),
        st.binary(max_size=300),
    ),
    max_size=30,
)


def frame_of(rows: list[tuple[int, int, int, bytes, bytes]], cut: int = 0) -> Frame:
    columns = frames.columns(
        [0] * len(rows),
        [r[1] for r in rows],
        [r[0] for r in rows],
        [r[2] for r in rows],
        [r[3] for r in rows],
        [r[4] for r in rows],
    )
    cut = min(cut, len(rows))
    blocks = (Block(ORGANIZATION, "a", 0, cut), Block(ORGANIZATION, "b", cut, len(rows)))
    return Frame((SOURCE,), blocks, columns, ({"kind": "organization", "id": ORGANIZATION},), {(0, 7): "00-ab-cd-01"})


@given(events, st.integers(0, 30))
def test_decode_gives_back_what_was_encoded(rows: list[tuple[int, int, int, bytes, bytes]], cut: int) -> None:
    frame = frame_of(rows, cut)
    back = frames.decode(frames.encode(frame))
    assert (back.ranges, back.blocks, back.controls, back.traces) == (
        frame.ranges,
        frame.blocks,
        frame.controls,
        frame.traces,
    )
    for name in ("source", "index", "offset", "received_at", "id_length", "body_length"):
        np.testing.assert_array_equal(getattr(back.events, name), getattr(frame.events, name))
    assert (back.events.ids, back.events.body) == (frame.events.ids, frame.events.body)


@given(events)
def test_the_same_frame_gives_the_same_bytes(rows: list[tuple[int, int, int, bytes, bytes]]) -> None:
    assert frames.encode(frame_of(rows)) == frames.encode(frame_of(rows))


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        frames.decode(data)


@given(events.filter(bool), st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_frame_is_refused_or_whole(
    rows: list[tuple[int, int, int, bytes, bytes]], at: int, byte: int
) -> None:
    data = bytearray(frames.encode(frame_of(rows)))
    data[at % len(data)] = byte
    with contextlib.suppress(FrameError):
        assert len(frames.decode(bytes(data))) == len(rows)


def test_a_frame_of_another_version_says_so() -> None:
    with pytest.raises(FrameError, match="version 9"):
        frames.decode(b"DLF\x09" + b"x" * 20)


@pytest.mark.parametrize(
    ("n", "lengths", "said"),
    [
        (-1, [], "cut off"),
        (0, [2, -2], "length that is none"),
        (0, [0.0], "length that is none"),
        (0, ["0"], "length that is none"),
    ],
)
def test_a_frame_of_lengths_that_are_none_is_refused(n: int, lengths: list[object], said: str) -> None:
    head = orjson.dumps(
        {"n": n, "ranges": [], "blocks": [["o", "s", one] for one in lengths], "controls": [], "traces": []}
    )
    data = frames.MAGIC + zstandard.ZstdCompressor().compress(struct.pack("<I", len(head)) + head)
    with pytest.raises(FrameError, match=said):
        frames.decode(data)


def test_a_frame_that_ends_before_its_version_is_refused() -> None:
    with pytest.raises(FrameError, match="does not start as a frame"):
        frames.decode(frames.MAGIC[:3])


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(frames.MAX_DECODED_BYTES + 1))
    with pytest.raises(FrameError, match="more than"):
        frames.decode(frames.MAGIC + bomb)
