"""Bodies: whatever way they are packed and cut, they come out as they were; bounds hold."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.api import bounds
from pipeline.api.problems import Answered


def read(packed: bytes, encoding: str, cut: int, most: int = bounds.MAX_BODY) -> bytes:
    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(packed), cut):
            yield packed[at : at + cut]

    return asyncio.run(bounds.body(chunks(), encoding, most))


def pack(plain: bytes, encoding: str) -> bytes:
    return {"": plain, "gzip": gzip.compress(plain), "zstd": zstandard.compress(plain)}[encoding]


@given(st.binary(max_size=2_000), st.sampled_from(["", "gzip", "zstd"]), st.integers(1, 500), st.integers(1, 3))
def test_what_was_packed_comes_out(plain: bytes, encoding: str, cut: int, times: int) -> None:
    assert read(pack(plain, encoding) * times, encoding, cut) == plain * times


@given(st.sampled_from(["gzip", "zstd"]), st.integers(1, 500), st.data())
def test_what_is_cut_is_refused(encoding: str, cut: int, data: st.DataObject) -> None:
    packed = pack(bytes(1_000), encoding)
    end = data.draw(st.integers(1, len(packed) - 1))
    with pytest.raises(Answered) as refused:
        read(packed[:end], encoding, cut)
    assert refused.value.status == 400


@given(st.integers(1, 3_000), st.sampled_from(["", "gzip", "zstd"]))
def test_the_limit_is_of_what_comes_out(size: int, encoding: str) -> None:
    packed = pack(bytes(size), encoding)
    most = max(1_000, len(packed))
    if size <= most:
        assert read(packed, encoding, 100, most) == bytes(size)
        return
    with pytest.raises(Answered) as refused:
        read(packed, encoding, 100, most)
    assert refused.value.status == 413


@given(st.binary(min_size=1, max_size=300), st.sampled_from(["gzip", "zstd"]), st.integers(1, 50))
def test_noise_is_refused_or_nothing(noise: bytes, encoding: str, cut: int) -> None:
    status = 0
    try:
        read(noise, encoding, cut)
    except Answered as refused:
        status = refused.status
    assert status in {0, 400, 413}
