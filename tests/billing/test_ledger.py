"""The hash chain: it verifies, and names a changed, removed or inserted entry."""

import uuid
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from billing.chain import GENESIS, Fault, Head
from billing.ledger import Entry, Sealed, check, entry_hash, seal

ORGANIZATION = uuid.UUID(int=1)


def entry(i: int) -> Entry:
    return Entry(
        organization_id=ORGANIZATION,
        kind="usage",
        disposition="billable",
        usage_id=uuid.UUID(int=i),
        part=0,
        corrects=None,
        count=1,
        units=1,
        stream="app",
        occurred_at=1_772_447_820_000 + i,
        arrived_at=1_772_447_820_100 + i,
        recorded_at=1_772_447_821_000,
        meter_hour=1_772_445_600_000,
        late=False,
        period_start=1_772_447_820_000,
        plan="standard",
        plan_version=1,
        customer_id="cus_1",
        blocks_topic_id="b",
        blocks_partition=0,
        frame=i,
        event=0,
        usage_topic_id="u",
        usage_partition=0,
        usage_offset=i,
        detector_version="1",
        reason="",
    )


def chain(n: int) -> tuple[list[Sealed], Head]:
    return seal(Head(), map(entry, range(n)))


def test_the_bytes_that_are_hashed_never_change() -> None:
    # If this fails, every chain ever written stops verifying: give the tag a new number and keep the old rule for old rows.
    known = "569a14e7c400d596fe02266c9516e083814d2924bb618b35f7b0e2dfea55fa48"  # pragma: allowlist secret
    assert entry_hash(GENESIS, 1, entry(0)).hex() == known


@given(st.lists(st.integers(0, 5), max_size=8))
def test_any_split_into_batches_gives_the_same_chain(sizes: list[int]) -> None:
    whole, end = chain(sum(sizes))
    parts: list[Sealed] = []
    head, at = Head(), 0
    for size in sizes:
        sealed, head = seal(head, map(entry, range(at, at + size)))
        parts += sealed
        at += size
    assert (parts, head) == (whole, end)
    assert check(whole, end) is None


@given(st.integers(1, 12), st.data())
def test_a_change_is_found_and_named(n: int, data: st.DataObject) -> None:
    rows, head = chain(n)
    i = data.draw(st.integers(0, n - 1))
    change: Any = data.draw(
        st.sampled_from(
            [
                ("units", 0),
                ("disposition", "waived"),
                ("stream", "other"),
                ("occurred_at", 5),
                ("customer_id", None),
                ("meter_hour", 0),
                ("usage_id", uuid.UUID(int=99)),
                ("plan_version", 2),
                ("late", True),
            ]
        )
    )
    rows[i] = replace(rows[i], entry=replace(rows[i].entry, **dict([change])))
    assert check(rows, head) == Fault(i + 1, f"entry {i + 1} was changed")


@given(st.integers(1, 12), st.data())
def test_a_removal_is_found_and_named(n: int, data: st.DataObject) -> None:
    rows, head = chain(n)
    i = data.draw(st.integers(0, n - 1))
    del rows[i]
    fault = check(rows, head)
    assert fault is not None
    assert (fault.seq, "removed" in fault.what) == (i + 1, True)


@given(st.integers(1, 12), st.data())
def test_an_insertion_is_found_even_with_a_right_hash_of_its_own(n: int, data: st.DataObject) -> None:
    rows, head = chain(n)
    i = data.draw(st.integers(0, n))
    before = rows[i - 1].hash if i else GENESIS
    forged = Sealed(i + 1, before, entry_hash(before, i + 1, entry(500)), entry(500))
    fault = check([*rows[:i], forged, *(replace(r, seq=r.seq + 1) for r in rows[i:])], head)
    assert fault is not None
    assert fault.seq in {i + 1, i + 2}


def test_a_rewritten_chain_differs_from_its_head() -> None:
    _, head = chain(3)
    rows, _ = seal(Head(), map(entry, (0, 1, 7)))
    assert check(rows, head) == Fault(3, "entry 3 is not the one that the head of the chain names")
