"""Any bytes are events: nothing raises, and every answer is in range."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.detector import Controls, Events, dump, load, new_state, score
from tests.detectors.streams import block, lines, times_of

JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
BODIES = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass")),
    st.dictionaries(st.text(max_size=6), JSONS, max_size=5).map(lambda d: json.dumps(d).encode()),
    st.dictionaries(st.text(max_size=6), JSONS, max_size=5).map(lambda d: json.dumps(d)[: len(str(d)) // 2].encode()),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(BODIES, min_size=1, max_size=120))
def test_any_bytes(bodies: list[bytes]) -> None:
    bodies = bodies * (1 + 150 // len(bodies))
    state, results, updates = score(new_state(), block(bodies, times_of(len(bodies))), None, Controls(1.0, 10_000))
    assert (results.score >= 0).all()
    assert (results.surprisal >= 0).all()
    assert (results.channels.max(axis=1) >= results.score).all()
    for update in updates:
        update.explanation.sentence.encode()
    load(dump(state))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00" * 65536,
        b"a " * 32768,
        b"1 " * 32768,
        b"{" * 65536,
        b"[" * 65536,
        b'{"a":' * 10000 + b"1" + b"}" * 10000,
        b'{"a": 1e999999999999999999999}',
        b'{"a": -0.' + b"0" * 60000 + b"1}",
        b'{"a": ' + b"9" * 60000 + b"}",
        b'{"a": 1e-999999999999}',
        b'{"a": -}',
        b'{"a": "' + b"\\" * 60001,
        b'{"a" ',
        b'{"":""}',
        b'{"a":1}}',
        b'{"a":1,}',
        b"{" + b",".join(b'"k%d":%d' % (i, i) for i in range(5000)) + b"}",
        "ünïcödé 日本語 🦀".encode() * 500,
        b"\xc3\x28 \xa0\xa1 \xf0\x28\x8c\x28",
    ],
    ids=lambda b: f"{bytes(b[:12])!r} {len(b)}",
)
def test_odd_events_among_others(body: bytes) -> None:
    bodies = lines(200, 5)
    bodies[120] = body
    bodies[150:153] = [body] * 3
    state, results, _ = score(new_state(), block(bodies, times_of(200)), None, Controls(1.0))
    assert len(results.score) == 200
    assert dump(load(dump(state))) == dump(state)


def test_many_different_keys_stay_bounded() -> None:
    bodies = [b"{" + b",".join(b'"k%d":"v%d"' % (200 * i + j, i) for j in range(200)) + b"}" for i in range(300)]
    state, _, _ = score(new_state(), block(bodies, times_of(300)), None, Controls())
    assert len(dump(state)) <= 512 << 10


def test_columns_that_do_not_fit_are_refused() -> None:
    good = block([b"a", b"b"], [1, 2])
    with pytest.raises(ValueError, match="2 events has 2 offsets"):
        score(
            new_state(),
            Events(good.body, good.offsets[:2], good.received_at, good.id_hash, good.reference),
            None,
            Controls(),
        )
    for wrong in ([0, 2, 1], [0, 1, 9], [-1, 1, 2]):
        with pytest.raises(ValueError, match="does not lie in order"):
            score(
                new_state(),
                Events(good.body, np.array(wrong), good.received_at, good.id_hash, good.reference),
                None,
                Controls(),
            )


def test_an_empty_block_changes_nothing() -> None:
    state, results, updates = score(new_state(), block([], []), None, Controls())
    assert len(results.score) == 0
    assert updates == []
    assert dump(state) == dump(new_state())
