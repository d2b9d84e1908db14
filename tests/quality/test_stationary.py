"""The stationary processes: one stream for a seed, whatever its length, of events that are what they claim to be."""

from itertools import pairwise

import numpy as np
import orjson
import pytest

from tests.quality import stationary
from tests.quality.stationary import BLOCK, PROCESSES, Pieces, blocks, hundredths, joined, lines, whole


@pytest.mark.parametrize("process", PROCESSES)
def test_a_longer_stream_begins_with_the_shorter_and_a_seed_gives_one(process: str) -> None:
    short, long = lines(process, 500, 1), lines(process, BLOCK + 500, 1)
    assert (len(short), len(long)) == (500, BLOCK + 500)
    assert long[:500] == short
    assert lines(process, 500, 1) == short
    assert lines(process, 500, 2) != short


@pytest.mark.parametrize("process", PROCESSES)
def test_blocks_follow_each_other_in_time(process: str) -> None:
    parts = list(blocks(process, BLOCK + 500, 1))
    assert [len(p.received_at) for p in parts] == [BLOCK, 500]
    times = np.concatenate([p.received_at for p in parts])
    assert (np.diff(times) >= 0).all()
    assert parts[1].reference(3) == b"%d" % (BLOCK + 3)


def test_numbers_are_json_and_as_distributed() -> None:
    rows = [orjson.loads(line) for line in lines("numbers", 20_000, 1)]
    temp, ms, size, load = (np.array([float(row[k]) for row in rows]) for k in ("temp", "ms", "bytes", "load"))
    assert temp.mean() == pytest.approx(60, abs=0.3)
    assert temp.std() == pytest.approx(5, rel=0.05)
    assert np.median(ms) == pytest.approx(np.exp(3), rel=0.05)
    assert np.median(size) == pytest.approx(400 * 2 ** (1 / 1.5), rel=0.05)
    assert np.corrcoef(load[:-1], load[1:])[0, 1] == pytest.approx(0.95, abs=0.02)
    first, last = load[:200], load[-200:]
    assert abs(first.mean() - last.mean()) < 6 * load.std()


def test_the_bursty_process_has_states_that_last() -> None:
    jobs = [line.split(b": ")[1].split(b" ")[0] for line in lines("bursty", 20_000, 1)]
    assert set(jobs) == {b"serve", b"flush", b"backup"}
    changes = sum(a != b for a, b in pairwise(jobs))
    assert changes == pytest.approx(20_000 / ((400 + 120 + 40) / 3), rel=0.4)


def test_zipf_never_ends_and_its_first_word_is_common() -> None:
    words = [word for line in lines("zipf", 20_000, 1) for word in line.split()[1:]]
    assert len(set(words[:80_000])) < len(set(words))
    share = np.unique(words, return_counts=True)[1].max() / len(words)
    weight = np.arange(1, stationary._ZIPF + 1) ** -1.1
    assert share == pytest.approx(weight[0] / weight.sum(), rel=0.05)


def test_numbers_are_spelt_as_numbers() -> None:
    value = np.array([0, 7, 9999, 10_000, 10_001, 99_999_999, 123_456_789])
    events = joined([*whole(value), "|", *hundredths(value / 100)], np.zeros(7, np.int64), 0, 0)
    at = events.offsets.tolist()
    said = [events.body.tobytes()[a:b].decode() for a, b in pairwise(at)]
    assert said == [f"{min(v, 99_999_999)}|{min(v, 99_999_999) / 100:.2f}" for v in value.tolist()]


def test_pieces_may_be_empty() -> None:
    pieces = Pieces.of(["", "ab", ""])
    events = joined(["<", (pieces, np.array([0, 1, 2])), ">"], np.zeros(3, np.int64), 5, 0)
    assert events.body.tobytes() == b"<><ab><>"
    assert events.offsets.tolist() == [0, 2, 6, 8]
