"""The fuse: blows when nearly everything is rejected, never for one organization of several, never below its size."""

from collections import Counter

import pytest

from pipeline.packer.fuse import Fuse, pass_through
from schemas.errors import FuseBlown


def test_blows_when_nearly_everything_is_rejected() -> None:
    fuse = Fuse(1_000)
    for _ in range(9):
        pass_through(fuse, 0, Counter({"": 100}), known=5)
    with pytest.raises(FuseBlown, match=r"980 of the last 1,000 events were rejected: `driftlock dlq list`"):
        pass_through(fuse, 20, Counter({"": 80}), known=5)


def test_what_lies_farther_back_is_forgotten() -> None:
    fuse = Fuse(1_000)
    pass_through(fuse, 10_000, Counter(), known=5)
    for _ in range(9):
        pass_through(fuse, 0, Counter({"": 100}), known=5)
    with pytest.raises(FuseBlown):
        pass_through(fuse, 0, Counter({"": 100}), known=5)


@pytest.mark.parametrize(
    ("events", "rejected", "known"), [(60, {"": 940}, 5), (0, {"a": 600, "": 400}, 2), (0, {"": 900}, 5)]
)
def test_holds(events: int, rejected: dict[str, int], known: int) -> None:
    pass_through(Fuse(1_000), events, Counter(rejected), known)


def test_several_organizations_or_the_only_one_blow_it() -> None:
    for rejected, known in (({"a": 500, "b": 500}, 2), ({"a": 1_000}, 1)):
        with pytest.raises(FuseBlown):
            pass_through(Fuse(1_000), 0, Counter(rejected), known)


def test_zero_turns_it_off() -> None:
    pass_through(Fuse(0), 0, Counter({"": 10**6}), known=0)
