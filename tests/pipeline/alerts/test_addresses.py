"""Where webhooks may lead: every written form of an address that is not public is refused."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alerts.addresses import Blocked, checked, destination, public

NOT_PUBLIC = (
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",  # noqa: S104
    "169.254.169.254", "169.254.170.2", "100.64.0.1", "192.0.0.192", "198.18.0.1", "192.0.2.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
    "2002:a9fe:a9fe::1", "2001:0:7f00:1::1", "64:ff9b:1::1", "168.63.129.16", "3fff::1", "5f00::1", "100::1",
)  # fmt: skip
PUBLIC = ("1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001::8a")


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public_is_refused_by_name_and_as_it_stands(address: str) -> None:
    assert not public(ip_address(address))
    with pytest.raises(Blocked):
        checked([address], allow_loopback=False)
    with pytest.raises(Blocked):
        checked([*PUBLIC, address], allow_loopback=False)
    shown = f"[{address}]" if ":" in address else address
    with pytest.raises(Blocked):
        destination(f"https://{shown}/hook", allow_loopback=False)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_not(address: str) -> None:
    assert checked([address], allow_loopback=False) == [address]


@given(st.ip_addresses())
def test_nothing_that_is_private_by_any_list_is_public(address: object) -> None:
    found = ip_address(str(address))
    if found.is_private or found.is_link_local or found.is_loopback or found.is_multicast:
        assert not public(found)


def test_loopback_is_let_through_where_it_is_allowed_and_nothing_else_is() -> None:
    assert checked(["127.0.0.1", "::1"], allow_loopback=True) == ["127.0.0.1", "::1"]
    for address in NOT_PUBLIC:
        if not ip_address(address).is_loopback:
            with pytest.raises(Blocked):
                checked([address], allow_loopback=True)


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example.org", "http://hooks.example.org/", "ftp://example.org/", "file:///etc/passwd", "https://",
        "https://user:secret@example.org/", "https://user@example.org/", "https://exa mple.org/", "https://example.org/\r\nX: y",  # pragma: allowlist secret
        "https://example.org:99999/", "https://example.org:x/", "https://example.org:0/", "https://[::1/", "https://-a.org/",
        "https://ex\u00e4mple.org/", "https://example.org/" + "x" * 2_000, "https://[fe80::1%25eth0]/", "gopher://1.1.1.1/",
        "https://example.org\\@10.0.0.1/", "//example.org/", "https:example.org",
    ],
)  # fmt: skip
def test_a_url_that_can_not_be_posted_to_is_refused(url: str) -> None:
    with pytest.raises(Blocked):
        destination(url, allow_loopback=False)


def test_the_parts_of_a_url() -> None:
    made = destination("https://Hooks.Example.org:8443/a/b?c=d#e", allow_loopback=False)
    assert (made.scheme, made.host, made.port, made.target) == ("https", "hooks.example.org", 8443, "/a/b?c=d")
    assert destination("https://example.org", allow_loopback=False).target == "/"
    assert destination("http://example.org", allow_loopback=True).port == 80
