"""Which addresses what a tenant names may lead to: public ones. Not ours, not a private network's, not a cloud's metadata."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

Resolve = Callable[[str, int], Sequence[str]]
"""(host, port) → its addresses; raises `OSError`."""

MOST_URL = 2_000
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\]")
_REST = re.compile(r"[!-~]*")
_NOT_PUBLIC_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # a public address at which each machine of Azure finds its own platform
    )
)  # fmt: skip
_PUBLIC_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
"""IANA's registries of special-purpose addresses, November 2026; ways to write an IPv4 address within IPv6 are among them."""


class Blocked(ValueError):
    """An address that nothing is sent to; the text says why, in one line."""


@dataclass(frozen=True)
class Destination:
    """A URL that was checked. `host` is a name or an address, without brackets; `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str


def destination(url: str, *, allow_loopback: bool) -> Destination:
    """The parts of an https URL; `Blocked` for what is none, or holds a login. http only where loopback is allowed."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Blocked(f"the URL is none: {error}") from error
    schemes = {"https": 443, "http": 80} if allow_loopback else {"https": 443}
    if len(url) > MOST_URL or not _REST.fullmatch(url):
        raise Blocked(f"the URL must have at most {MOST_URL} characters, ASCII and without spaces")
    if parts.scheme not in schemes:
        raise Blocked("the URL must begin with https://")
    if parts.username is not None or parts.password is not None:
        raise Blocked("the URL must hold no user and no password")
    host = (parts.hostname or "").lower()
    if not _HOST.fullmatch(f"[{host}]" if ":" in host else host) or port == 0:
        raise Blocked("the URL has no host that can be looked up")
    made = Destination(parts.scheme, host, port or schemes[parts.scheme], _target(parts.path, parts.query))
    try:
        literal = ip_address(host)
    except ValueError:
        return made
    _require(literal, allow_loopback=allow_loopback)
    return made


def _target(path: str, query: str) -> str:
    return (path or "/") + (f"?{query}" if query else "")


def checked(found: Sequence[str], *, allow_loopback: bool) -> list[str]:
    """The addresses of a host, if every one is public; `Blocked` if one is not: a name may answer with some of each."""
    if not found:
        raise Blocked("the host has no address")
    for address in found:
        _require(ip_address(address), allow_loopback=allow_loopback)
    return list(found)


def _require(address: IPv4Address | IPv6Address, *, allow_loopback: bool) -> None:
    if public(address) or (allow_loopback and address.is_loopback):
        return
    raise Blocked("the host's address is not a public one")


def public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the Internet's: a list of our own, as Python's differs from release to release."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    outside = address.scope_id is not None or address not in _PUBLIC_6
    return not (outside or any(address in network for network in _NOT_PUBLIC_6))
