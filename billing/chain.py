"""A hash chain: each link is sealed with the hash before it, so that a changed, removed or inserted one shows."""

from collections.abc import Iterable
from dataclasses import dataclass

GENESIS = bytes(32)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: the last link's number and hash."""

    seq: int = 0
    hash: bytes = GENESIS


@dataclass(frozen=True, slots=True)
class Link:
    """A link as it is stored, and the hash that its content has now."""

    seq: int
    prev_hash: bytes
    hash: bytes
    computed: bytes


@dataclass(frozen=True)
class Fault:
    """What is wrong with a chain: the first number that does not fit, and what was done there."""

    seq: int
    what: str


def check(links: Iterable[Link], head: Head, names: tuple[str, str] = ("entry", "entries")) -> Fault | None:
    """The first fault of a chain, given its links in order of their numbers, or None. `names`: what one, and more, are called."""
    one, many = names
    last = Head()
    for link in links:
        if said := _misfit(last, link, one, many):
            return said
        last = Head(link.seq, link.hash)
    if last.seq < head.seq:
        return Fault(last.seq + 1, f"{many} {last.seq + 1} to {head.seq} were removed")
    if last.seq > head.seq:
        return Fault(head.seq + 1, f"{many} {head.seq + 1} to {last.seq} were inserted")
    if last.hash != head.hash:
        return Fault(head.seq, f"{one} {head.seq} is not the one that the head of the chain names")
    return None


def _misfit(last: Head, link: Link, one: str, many: str) -> Fault | None:
    if link.seq != last.seq + 1:
        return Fault(last.seq + 1, f"{many} {last.seq + 1} to {link.seq - 1} were removed")
    if link.prev_hash != last.hash:
        return Fault(link.seq, f"{one} {link.seq} does not follow {one} {last.seq}: inserted, or put in its place")
    if link.hash != link.computed:
        return Fault(link.seq, f"{one} {link.seq} was changed")
    return None
