"""The peers' runner: ranks and decisions from scores alone, strictly online, and an environment apart from ours."""

import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.quality import bases
from tests.quality.labelled import Labelled, Row
from tests.quality.peers import features
from tests.quality.peers.__main__ import LAST, decided, peer_scorer, ranked

FOLDER = Path(features.__file__).parent
ROOT = FOLDER.parents[2]
RATIO = "zstd ratio z-score"  # the one whose library we have too


def stream(n: int, series: int = 2) -> Labelled:
    events = bases.web(np.random.default_rng(1), n)
    return Labelled("s", tuple(Row(float(i), e, series=f"s{i % series}") for i, e in enumerate(events)))


def test_a_rank_is_among_earlier_scores_only() -> None:
    assert ranked(np.array([1.0, 2.0, 1.0, 3.0, 0.0])).tolist() == [1.0, 0.5, 1.0, 0.25, 1.0]
    late = ranked(np.r_[9.0, np.zeros(LAST), 5.0])
    assert late[-1] == 1 / (LAST + 1)  # the 9 is forgotten


def test_decisions_near_each_other_are_one_episode() -> None:
    score = np.zeros(3000)
    score[[1500, 1520, 2000]] = [1, 2, 3]
    answers = decided(Labelled("s", tuple(Row(0.0, "x") for _ in score)), score)
    assert np.flatnonzero(answers.alarm).tolist() == [1500, 1520, 2000]
    assert [answers.episode[i] for i in (1500, 1520, 2000)] == ["all/1", "all/1", "all/2"]


def test_a_peer_sees_no_future_and_no_other_series() -> None:
    scorer = partial(peer_scorer, Path(sys.executable), RATIO)
    rows = stream(3000).rows
    whole = scorer(Labelled("s", rows))[0].score
    assert len(np.unique(whole)) > 100
    assert scorer(Labelled("s", rows[:1800]))[0].score.tolist() == whole[:1800].tolist()
    assert scorer(Labelled("s", rows[::2]))[0].score.tolist() == whole[::2].tolist()


def test_features_are_of_fixed_width_and_read_objects_by_path() -> None:
    event = {"a": {"b": 3.5, "c": "x y"}, "ok": True}
    assert features.words(event) == ".a.c=x y"
    assert features.words("one\ntwo") == "one two"
    assert list(features.numbers(event)) == [(".a.b", 3.5)]
    assert features.hashed(event, 16).shape == (16,)
    assert features.hashed("GET /a 200", 16).sum() == 3


@pytest.mark.parametrize("name", ["drain3", "jsonpickle", "river", "scikit-learn"])
def test_peers_never_enter_our_lock(name: str) -> None:
    pattern = re.compile(rf"^{name}==", re.MULTILINE)
    assert not pattern.search((ROOT / "requirements.lock").read_text("utf-8"))
    assert pattern.search((FOLDER / "requirements.lock").read_text("utf-8"))


def test_every_peer_is_pinned_by_hash() -> None:
    lock = (FOLDER / "requirements.lock").read_text("utf-8")
    assert lock.count("==") == len(re.findall(r"^\S+==\S+.*\\\n {4}--hash=sha256:", lock, re.MULTILINE))
