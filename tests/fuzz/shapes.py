"""Inputs from seeds: cut, changed, repeated and joined; and bytes that no seed is like."""

from collections.abc import Sequence

from hypothesis import strategies as st

_KINDS = ("set", "insert", "delete", "repeat", "cut")
Change = tuple[str, int, bytes]
"""(what, where in 1/65536 of the length, with which bytes)."""

_ODD = (
    b"\x00",
    b"\xff",
    b'"',
    b"{",
    b"[",
    b"\n",
    b"-",
    b"9" * 30,
    b"1e999",
    b"\\u0000",
    b"\xed\xa0\x80",
    b"\xff\xff\xff\xff",
)
_CHANGES = st.tuples(
    st.sampled_from(_KINDS), st.integers(0, 65_535), st.binary(min_size=1, max_size=8) | st.sampled_from(_ODD)
)


def changed(seed: bytes, changes: Sequence[Change]) -> bytes:
    """A seed after its changes, one after another."""
    for kind, where, what in changes:
        at = where * (len(seed) + 1) >> 16
        match kind:
            case "set":
                seed = seed[:at] + what + seed[at + len(what) :]
            case "insert":
                seed = seed[:at] + what + seed[at:]
            case "delete":
                seed = seed[:at] + seed[at + len(what) :]
            case "repeat":
                seed = seed[:at] + seed[at : at + 64] * (1 + what[0] % 8) + seed[at:]
            case _:
                seed = seed[:at]
    return seed


def inputs(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Any bytes, most of them near a seed."""
    near = st.builds(changed, st.sampled_from(list(seeds)), st.lists(_CHANGES, max_size=6))
    return st.one_of(near, near, near, st.builds(bytes.__add__, near, near), st.binary(max_size=300))
