"""Apache Kafka that lets in users with a password over TLS, and does what rules say: for tests of SASL_SSL and ACLs."""

import datetime as dt
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipeline.embedded import kafka
from pipeline.embedded.kafka import Kafka
from pipeline.embedded.ports import LOOPBACK, free_ports
from tests.stack.providers import needed

PASSWORD = "for-tests-only"  # pragma: allowlist secret


@dataclass(frozen=True)
class Secure:
    """A running broker; `port` takes SASL_SSL, the other one is for who makes users and rules."""

    broker: Kafka
    port: int
    ca: Path

    def environ(self, user: str) -> dict[str, str]:
        """Our settings as a user."""
        return {
            "KAFKA_BROKERS": f"{LOOPBACK}:{self.port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": user,
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_SSL_CA": str(self.ca),
        }


def certificates(folder: Path) -> tuple[Path, Path]:
    """(authority, server's key and chain) in PEM, for loopback, good for a day."""
    now = dt.datetime.now(dt.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("test authority", LOOPBACK)]
    made = []
    for i in range(2):
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[i])
            .issuer_name(names[0])
            .public_key(keys[i].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=i == 0, path_length=None), critical=True)
        )
        if i == 1:
            address = x509.IPAddress(ipaddress.ip_address(LOOPBACK))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    key = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    ca, server = folder / "ca.pem", folder / "server.pem"
    ca.write_bytes(made[0])
    server.write_bytes(key + made[1] + made[0])
    return ca, server


@contextmanager
def running(folder: Path, users: tuple[str, ...], supers: tuple[str, ...]) -> Iterator[Secure]:
    """A broker with these users; `supers` may do everything, the others what rules say."""
    ca, server = certificates(folder)
    (port,) = free_ports(1)
    broker = needed(lambda: kafka.new(folder / "kafka"))
    plain = kafka.properties(broker.port, broker.controller_port, folder)
    broker.extra = {
        "listeners": f"{plain['listeners']},SASL_SSL://{LOOPBACK}:{port}",
        "advertised.listeners": f"{plain['advertised.listeners']},SASL_SSL://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(server),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": ";".join(f"User:{name}" for name in ("ANONYMOUS", *supers)),
    }
    try:
        broker.start()
        client = AdminClient({"bootstrap.servers": broker.bootstrap})
        credentials: list[UserScramCredentialAlteration] = [
            UserScramCredentialUpsertion(
                name, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), PASSWORD.encode()
            )
            for name in (*users, *supers)
        ]
        for future in client.alter_user_scram_credentials(credentials).values():
            future.result(10)
        yield Secure(broker, port, ca)
    finally:
        broker.remove()
