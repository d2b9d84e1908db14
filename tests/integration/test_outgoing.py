"""Requests to where tenants say, on real sockets: the address that was checked, whatever the name says next; bounds; TLS."""

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipeline.alerts import outgoing
from pipeline.alerts.addresses import Blocked
from pipeline.alerts.outgoing import MOST_BODY, NotAnswered, Outbound
from pipeline.embedded.ports import LOOPBACK, free_ports
from tests.integration import receiver as receivers
from tests.integration.receiver import Receiver, status

NAME = "hooks.example.test"


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receivers.receiver() as made:
        yield made


def answering(*answers: Sequence[str]) -> tuple[Callable[[str, int], Sequence[str]], list[str]]:
    """A resolver that gives one answer after the other, the last for ever, and who was asked for."""
    asked: list[str] = []
    left = list(answers)

    def resolve(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve, asked


def test_the_name_goes_in_host_and_the_connection_to_what_was_looked_up_once(server: Receiver) -> None:
    resolve, asked = answering([LOOPBACK], ["10.0.0.1"])
    server.answers.append(status(202, b"taken", Retry_After="7"))
    reply = Outbound(allow_loopback=True, resolve=resolve).post(
        server.url("/a?b=c", NAME), {"Content-Type": "application/json"}, b"{}"
    )
    assert (reply.status, reply.body, reply.headers["retry-after"]) == (202, b"taken", "7")
    assert asked == [NAME]
    (request,) = server.requests
    assert (request.path, request.body) == ("/a?b=c", b"{}")
    assert request.headers["host"] == f"{NAME}:{server.port}"


def test_a_name_that_answers_otherwise_a_moment_later_reaches_nothing_of_ours(server: Receiver) -> None:
    """DNS rebinding: what was checked is 192.0.2.1 or public; what a second look-up would say is this machine."""
    for first in (
        ["192.0.2.1"],
        ["1.1.1.1", "127.0.0.1"],
        ["127.0.0.1"],
        ["::ffff:127.0.0.1"],
        ["169.254.169.254"],
        [],
    ):
        resolve, asked = answering(first, [LOOPBACK])
        with pytest.raises(Blocked):
            Outbound(resolve=resolve).post(f"https://{NAME}:{server.port}/", {}, b"{}")
        assert asked == [NAME]
    resolve, asked = answering(["127.0.0.2"], [LOOPBACK])  # allowed here, and nobody listens there
    with pytest.raises(NotAnswered):
        Outbound(allow_loopback=True, resolve=resolve).post(server.url("/", NAME), {}, b"{}")
    assert asked == [NAME]
    assert server.requests == []


def test_loopback_and_http_only_where_they_are_allowed(server: Receiver) -> None:
    for url in (
        server.url(),
        f"https://localhost:{server.port}/",
        f"https://127.0.0.1:{server.port}/",
        "https://0x7f.1/",
    ):
        with pytest.raises(Blocked):
            Outbound().post(url, {}, b"")
    assert server.requests == []


def test_a_redirect_is_an_answer_and_is_not_followed(server: Receiver) -> None:
    server.answers.append(status(302, Location=server.url("/elsewhere")))
    assert Outbound(allow_loopback=True).post(server.url(), {}, b"").status == 302
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [receivers.drip, receivers.nonsense])
def test_what_trickles_or_is_no_http_ends_by_the_deadline(server: Receiver, answer: receivers.Answer) -> None:
    server.answers.append(answer)
    outbound = Outbound(allow_loopback=True, total_s=0.5)
    with pytest.raises(NotAnswered, match=r"within|HTTP"):
        outbound.post(server.url(), {}, b"{}")


def test_an_answer_is_read_to_its_bound(server: Receiver) -> None:
    server.answers.append(receivers.flood)
    reply = Outbound(allow_loopback=True).post(server.url(), {}, b"{}")
    assert (reply.status, len(reply.body)) == (200, MOST_BODY)


def test_nobody_listens_or_nobody_answers_or_no_name() -> None:
    (port,) = free_ports(1)
    with pytest.raises(NotAnswered):
        Outbound(allow_loopback=True).post(f"http://{LOOPBACK}:{port}/", {}, b"")
    silent = socket.create_server((LOOPBACK, 0))
    try:
        with pytest.raises(NotAnswered, match="no whole answer"):
            Outbound(allow_loopback=True, total_s=0.3).post(f"http://{LOOPBACK}:{silent.getsockname()[1]}/", {}, b"")
    finally:
        silent.close()

    def unknown(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    with pytest.raises(NotAnswered, match="not found"):
        Outbound(resolve=unknown).post(f"https://{NAME}/", {}, b"")
    held = threading.Event()

    def slow(_host: str, _port: int) -> Sequence[str]:
        held.wait(30)
        return []

    with pytest.raises(NotAnswered, match="not found within"):
        Outbound(resolve=slow, connect_s=0.2).post(f"https://{NAME}/", {}, b"")
    held.set()


def test_the_bounds_are_those_that_are_promised() -> None:
    made = Outbound()
    assert (made.connect_s, made.total_s, outgoing.MOST_BODY, made.allow_loopback) == (3.0, 10.0, 4_096, False)


def certificate(folder: Path, name: str) -> Path:
    """A key and a certificate of a name that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.2"))]
    made = (
        x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1)).add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = folder / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_tls_asks_for_the_name_and_checks_it(tmp_path: Path) -> None:
    pem = certificate(tmp_path, NAME)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pem)
    trusting = ssl.create_default_context(cafile=str(pem))
    resolve, _ = answering([LOOPBACK])
    with receivers.receiver(serving) as server:
        trusted = Outbound(allow_loopback=True, resolve=resolve, tls=trusting)
        assert trusted.post(server.url("/x", NAME, "https"), {}, b"{}").status == 204
        assert (server.names, len(server.requests)) == ([NAME], 1)
        for outbound, name in ((trusted, "other.example.test"), (Outbound(allow_loopback=True, resolve=resolve), NAME)):
            with pytest.raises(NotAnswered, match="certificate"):
                outbound.post(server.url("/x", name, "https"), {}, b"{}")
        assert len(server.requests) == 1
