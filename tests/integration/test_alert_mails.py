"""The sender of e-mails against a real SMTP server: once each, again after a death, in the end despite a server that is away."""

import os
import random
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage

import psycopg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from billing import announce, outbox
from billing.outbox import Letter
from pipeline.alerts.delivery import MOST_ATTEMPTS, backlog, delay, deliver_due, mailing
from pipeline.embedded.ports import LOOPBACK, free_ports
from schemas.errors import SettingsError
from schemas.notices import AccountReset, BillingPlanChanged
from schemas.settings import Settings, load
from tests.stack.database import Database

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)


@dataclass
class Inbox:
    """What a server took. `says` answers DATA; `refuses` an address with 550."""

    says: list[str] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802 - as aiosmtpd calls it
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Refuse one address for good."""
        if address.startswith("gone@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take a mail, or say what there is to say first."""
        if self.says:
            return self.says.pop(0)
        content = envelope.content
        assert isinstance(content, bytes)
        made = message_from_bytes(content, policy=policy.default)
        assert isinstance(made, EmailMessage)
        self.mails.append(made)
        return "250 OK"


@dataclass
class World:
    """A database with an outbox, a mail server, settings for both."""

    database: Database
    inbox: Inbox
    settings: Settings
    owner: psycopg.Connection
    alerts: psycopg.Connection

    def tell(self, address: str | None = "ops@acme.test", key: str = "k", at: datetime = NOW) -> uuid.UUID:
        """An organization to which something is to be told."""
        o = uuid.uuid4()
        self.owner.execute(
            "INSERT INTO organizations (id, name, created_at, billing_email) VALUES (%s, 'Acme & Söhne', %s, %s)",
            (o, at, address),
        )
        self.again(o, key, at)
        return o

    def again(self, o: uuid.UUID, key: str, at: datetime = NOW) -> None:
        """Tell an organization something."""
        ms = int(at.timestamp() * 1000)
        notice = BillingPlanChanged(organization_id=o, at=ms, was="developer", plan="standard", from_at=ms)
        with self.owner.transaction():
            outbox.put(self.owner, [Letter(key, notice)])

    def deliver(self, now: datetime = NOW) -> dict[str, int]:
        """One pass."""
        found = deliver_due(self.alerts, mailing(self.settings), lambda: now, random.Random(1))
        return {str(outcome): count for outcome, count in found.items()}

    def rows(self) -> list[tuple[bool, int, str | None]]:
        """(delivered, attempts, what went wrong) of the outbox, the oldest first."""
        return self.owner.execute(
            "SELECT delivered_at IS NOT NULL, attempts, last_error FROM outbox ORDER BY created_at"
        ).fetchall()


@contextmanager
def smtp_server(inbox: Inbox) -> Iterator[dict[str, str]]:
    """A mail server that fills an inbox; the settings that lead to it."""
    (port,) = free_ports(1)
    controller = Controller(inbox, hostname=LOOPBACK, port=port)
    controller.start()
    try:
        yield {
            "SMTP_HOST": LOOPBACK,
            "SMTP_PORT": str(port),
            "SMTP_SECURITY": "none",
            "MAIL_FROM": "DriftLock <billing@driftlock.test>",
        }
    finally:
        controller.stop()


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    inbox = Inbox()
    with (
        smtp_server(inbox) as environ,
        psycopg.connect(database.url(), autocommit=True) as owner,
        psycopg.connect(database.url("driftlock_alerts"), autocommit=True) as alerts,
    ):
        yield World(database, inbox, load({**database.environ(), **environ}), owner, alerts)


def test_each_row_is_mailed_once(world: World) -> None:
    o = world.tell()
    world.again(o, "k")  # the same thing again is not told again
    world.again(o, "another", NOW + timedelta(seconds=1))
    assert world.deliver() == {"delivered": 2}
    assert world.deliver() == {}
    assert world.rows() == [(True, 1, None), (True, 1, None)]
    first = world.inbox.mails[0]
    assert (first["To"], first["From"]) == ("ops@acme.test", "DriftLock <billing@driftlock.test>")
    body = first.get_body(("html",))
    assert body is not None
    assert "Acme &amp; Söhne" in body.get_content()
    assert len({mail["Message-ID"] for mail in world.inbox.mails}) == 2


def test_an_alarm_goes_to_whoever_runs_this(world: World) -> None:
    announce.tell_operator(world.owner, "difference", "R4 x", "R4 x: 1 here, 2 there", NOW, NOW)
    announce.tell_operator(world.owner, "difference", "R4 x", "R4 x: 1 here, 3 there", NOW, NOW)  # the same: told once
    assert world.deliver() == {"no_address": 1}
    world.settings = world.settings.model_copy(update={"operator_email": "run@driftlock.test"})
    assert world.deliver(NOW + timedelta(hours=1)) == {"delivered": 1}
    (mail,) = world.inbox.mails
    assert (mail["To"], "an alarm about money rings" in mail["Subject"]) == ("run@driftlock.test", True)


def test_a_sender_that_dies_before_its_mark_sends_again_with_the_same_id(world: World) -> None:
    world.tell(at=datetime.now(UTC))
    shown = {name.upper(): _plain(value) for name, value in world.settings.model_dump(exclude_unset=True).items()}
    command = [sys.executable, "-m", "pipeline.cli", "alerts", "run", "--once"]
    environ = {**os.environ, **shown, "DRIFTLOCK_CRASH_AT": "alerts:sent-before-mark"}
    assert subprocess.run(command, env=environ, check=False, timeout=60).returncode == -9
    assert world.rows() == [(False, 0, None)]
    done = subprocess.run(command, env={**os.environ, **shown}, check=False, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "waiting 0, given up 0\n")
    assert world.rows() == [(True, 1, None)]
    assert len(world.inbox.mails) == 2
    assert len({mail["Message-ID"] for mail in world.inbox.mails}) == 1


def test_an_operator_who_mended_the_server_waits_for_no_attempt(world: World) -> None:
    world.tell(at=datetime.now(UTC))
    away = world.settings.model_copy(update={"smtp_port": free_ports(1)[0]})
    assert deliver_due(world.alerts, mailing(away), lambda: datetime.now(UTC), random.Random(1)) == {"deferred": 1}
    shown = {name.upper(): _plain(value) for name, value in world.settings.model_dump(exclude_unset=True).items()}
    command = [sys.executable, "-m", "pipeline.cli", "alerts", "run"]

    def run(*more: str) -> tuple[int, str, str]:
        environ = {**os.environ, **shown}
        done = subprocess.run([*command, *more], env=environ, check=False, timeout=60, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    assert run("--once")[:2] == (1, "waiting 1, given up 0\n")
    assert run("--once", "--now")[:2] == (0, "waiting 0, given up 0\n")
    assert len(world.inbox.mails) == 1
    code, _, said = run("--now")
    assert (code, "--now needs --once" in said) == (2, True)


def _plain(value: object) -> str:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)


def test_senders_share_the_rows_and_none_is_mailed_twice(world: World) -> None:
    o = world.tell()
    for number in range(30):
        world.again(o, f"k{number}")
    found: list[dict[str, int]] = []

    def work() -> None:
        with psycopg.connect(world.database.url("driftlock_alerts"), autocommit=True) as connection:
            done = deliver_due(connection, mailing(world.settings), lambda: NOW, random.Random(1))
            found.append({str(outcome): count for outcome, count in done.items()})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(done.get("delivered", 0) for done in found) == 31
    assert len({mail["Message-ID"] for mail in world.inbox.mails}) == len(world.inbox.mails) == 31


def test_a_server_that_is_away_or_busy_is_tried_again_later(world: World) -> None:
    world.tell()
    away = world.settings.model_copy(update={"smtp_port": free_ports(1)[0]})
    with psycopg.connect(world.database.url("driftlock_alerts"), autocommit=True) as connection:
        assert deliver_due(connection, mailing(away), lambda: NOW, random.Random(1)) == {"deferred": 1}
    assert world.deliver(NOW + timedelta(seconds=1)) == {}
    world.inbox.says.append("451 try again later")
    assert world.deliver(NOW + timedelta(minutes=2)) == {"refused": 1}
    (row,) = world.rows()
    assert row[:2] == (False, 2)
    assert "451" in str(row[2])
    assert world.deliver(NOW + timedelta(minutes=6)) == {"delivered": 1}
    assert world.rows() == [(True, 3, None)]


def test_one_refused_address_holds_nobody_up_and_is_given_up_in_the_end(world: World) -> None:
    world.tell("gone@acme.test")
    world.tell("ops@acme.test", at=NOW + timedelta(seconds=1))
    assert world.deliver() == {"refused": 1, "delivered": 1}
    now = NOW
    for _ in range(MOST_ATTEMPTS):
        now += timedelta(hours=6)
        world.deliver(now)
    assert world.rows()[0][:2] == (False, MOST_ATTEMPTS)
    assert "550" in str(world.rows()[0][2])
    assert (backlog(world.alerts).waiting, backlog(world.alerts).dead) == (0, 1)


def test_without_an_address_it_waits_and_a_payload_that_does_not_fit_is_given_up(world: World) -> None:
    o = world.tell(None)
    world.owner.execute(
        "INSERT INTO outbox (organization_id, kind, payload, dedupe_key, created_at)"
        " VALUES (%s, 'billing.dunning', '{}', 'broken', %s), (%s, 'anomaly.created', '{}', 'other', %s)",
        (world.tell(key="sound"), NOW, o, NOW),
    )
    assert world.deliver() == {"no_address": 1, "delivered": 1, "broken": 1}
    assert (backlog(world.alerts).waiting, backlog(world.alerts).dead) == (1, 1)
    world.owner.execute("UPDATE organizations SET billing_email = 'late@acme.test' WHERE id = %s", (o,))
    assert world.deliver(NOW + timedelta(minutes=59)) == {}
    assert world.deliver(NOW + timedelta(hours=1)) == {"delivered": 1}
    assert [mail["To"] for mail in world.inbox.mails] == ["ops@acme.test", "late@acme.test"]


def test_the_sender_reads_and_writes_no_more_than_it_needs(world: World) -> None:
    world.tell()
    for query in (
        "UPDATE outbox SET payload = '{}'",
        "DELETE FROM outbox",
        "INSERT INTO outbox (organization_id, kind, payload, dedupe_key, created_at) SELECT organization_id, kind, payload, 'x', created_at FROM outbox",
        "SELECT active FROM organizations",
        "UPDATE organizations SET billing_email = 'x@y'",
        "SELECT 1 FROM ledger",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            world.alerts.execute(query.encode())


def test_the_wait_doubles_up_to_six_hours() -> None:
    rng = random.Random(1)
    waits = [delay(n, rng) for n in (1, 2, 3, 9, 10, 20)]
    for wait, most in zip(waits, (60, 120, 240, 15_360, 21_600, 21_600), strict=True):
        assert timedelta(seconds=most) * 3 / 4 <= wait <= timedelta(seconds=most)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"smtp_host": ""}, "SMTP_HOST"), ({"smtp_host": "mail.test", "smtp_security": "none"}, "loopback only")],
)
def test_what_would_go_out_in_the_open_is_refused(change: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        mailing(Settings.model_validate({"smtp_host": "mail.test"} | change))


def test_a_person_is_mailed_and_the_token_forgotten(world: World) -> None:
    notice = AccountReset(
        organization_id=uuid.uuid4(), at=0, to="ann@example.org", token="one-time"
    )  # pragma: allowlist secret
    with world.owner.transaction():
        outbox.put(world.owner, [Letter("reset", notice)])
    assert world.deliver() == {"delivered": 1}
    assert world.inbox.mails[0]["To"] == "ann@example.org"
    assert "one-time" in str(world.inbox.mails[0].get_body(("plain",)))
    kept = world.owner.execute("SELECT payload ? 'token' OR payload ? 'to' FROM outbox").fetchall()
    assert kept == [(False,)]
