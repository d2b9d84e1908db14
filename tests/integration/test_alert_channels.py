"""Slack, PagerDuty and e-mail endpoints against real servers; e-mail by Resend's API, with its faults."""

from collections.abc import Iterator

import pytest

from pipeline.alerts.delivery import deliver_due, mailing
from pipeline.tenants import deliveries as log
from pipeline.tenants import endpoints
from schemas.errors import SettingsError
from schemas.settings import load
from tests.integration import receiver as receivers
from tests.integration.alerts_world import World, world
from tests.integration.api_world import anomaly
from tests.integration.receiver import Receiver, status
from tests.integration.test_alert_mails import Inbox, smtp_server
from tests.stack.database import Database

KEY = "re_a-test-key"


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receivers.receiver() as made:
        yield made


def test_slack_and_pagerduty_are_told_in_their_forms_and_their_secrets_are_shown_to_nobody(
    database: Database, server: Receiver
) -> None:
    with world(database) as one:
        o = one.organization()
        slack = one.endpoint(o, server.url("/services/T0/B0/secret-of-slack"), "slack")
        pager = one.endpoint(o, server.url("/v2/enqueue"), "pagerduty", routing_key="R" * 32)
        assert (slack.secret, pager.secret) == (None, None)
        one.rule(o, slack, pager, recovery=True)
        one.write(anomaly(o, 1))
        one.later(minutes=1)
        one.write(anomaly(o, 1, revision=2, open=False))
        one.later(minutes=1)
        assert one.deliver() == {"delivered": 4}
        by = {path: [r.said for r in server.requests if r.path == path] for path in {r.path for r in server.requests}}
        assert [said["event_action"] for said in by["/v2/enqueue"]] == ["trigger", "resolve"]
        assert len({said["dedup_key"] for said in by["/v2/enqueue"]}) == 1
        assert [said["blocks"][0]["text"]["text"] for said in by["/services/T0/B0/secret-of-slack"]] == [
            "Anomaly of severity high",
            "Anomaly is over",
        ]
        assert "webhook-signature" not in server.requests[0].headers
        shown = str([endpoints.list_endpoints(one.api, o), log.list_deliveries(one.api, o)])
        kept = str(
            [
                one.owner.execute(f"SELECT * FROM {table}").fetchall()
                for table in ("alert_endpoints", "alert_secrets", "billing_actions")
            ]
        )
        for secret in ("secret-of-slack", "R" * 32):
            assert secret not in shown
            assert secret not in kept


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def mailed(database: Database, inbox: Inbox) -> Iterator[World]:
    with smtp_server(inbox) as environ, world(database, mailing=mailing(load(environ))) as made:
        yield made


def test_an_e_mail_endpoint_is_told_despite_a_server_with_faults(mailed: World, inbox: Inbox) -> None:
    o = mailed.organization("ops@acme.test")
    mailed.rule(o, mailed.endpoint(o, "Ops@Acme.test", "email"), recovery=True)
    mailed.write(anomaly(o, 1), anomaly(o, 2))
    mailed.later(minutes=1)
    inbox.says += ["451 busy", "421 going away", "554 no"]
    seen = []
    for _ in range(8):
        seen.append(mailed.deliver())
        mailed.later(minutes=2)
    assert sum(done.get("delivered", 0) for done in seen) == 2
    assert sum(done.get("failed", 0) for done in seen) == 3
    assert [mail["To"] for mail in inbox.mails] == ["ops@acme.test"] * 2
    assert len({mail["Message-ID"] for mail in inbox.mails}) == 2
    assert {str(mail["Subject"]) for mail in inbox.mails} == {"Anomaly of severity high"}
    body = inbox.mails[0].get_body(("plain",))
    assert body is not None
    assert "Acme & Söhne" in body.get_content()


def test_while_no_mails_are_sent_e_mail_endpoints_wait_and_others_do_not(database: Database, server: Receiver) -> None:
    with world(database) as one:
        o = one.organization("ops@acme.test")
        one.endpoint(o, "ops@acme.test", "email", event_types=["billing.plan_changed"])
        one.endpoint(o, server.url(), event_types=["billing.plan_changed"])
        one.plan_changes(o)
        assert one.deliver() == {"delivered": 1}
        assert sorted(one.states()) == [("delivered", 1), ("pending", 0)]


def test_resend_takes_each_mail_once_with_a_key_and_its_faults_are_waited_out(
    database: Database, server: Receiver
) -> None:
    settings = load({"RESEND_API_KEY": KEY, "RESEND_API_BASE": f"http://127.0.0.1:{server.port}"})
    with world(database) as one:
        o = one.organization("ops@acme.test")
        one.plan_changes(o)
        server.answers += [status(429), status(500), status(401), status(422, b'{"name": "validation_error"}')]
        seen = []
        for _ in range(6):
            seen.append(deliver_due(one.alerts, mailing(settings), lambda: one.now, one.rng))
            one.later(hours=1)
        assert seen == [{"deferred": 1}] * 3 + [{"refused": 1}, {"delivered": 1}, {}]
        said = server.requests[-1].said
        assert {request.path for request in server.requests} == {"/emails"}
        assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
        assert len({request.headers["idempotency-key"] for request in server.requests}) == 1
        assert (said["to"], said["from"]) == (["ops@acme.test"], "DriftLock <billing@localhost>")
        assert said["subject"] == "Your plan changes"
        assert "Acme &amp; Söhne" in said["html"]
        assert "Acme & Söhne" in said["text"]
        errors = one.owner.execute("SELECT last_error FROM outbox").fetchall()
        assert errors == [(None,)]


def test_a_resend_key_does_not_go_out_in_the_open_and_smtp_comes_first() -> None:
    with pytest.raises(SettingsError, match="RESEND_API_BASE"):
        mailing(load({"RESEND_API_KEY": KEY, "RESEND_API_BASE": "http://mail.test"}))
    with pytest.raises(SettingsError, match="RESEND_API_KEY"):
        mailing(load({}))
    made = mailing(load({"RESEND_API_KEY": KEY, "SMTP_HOST": "mail.test"}))
    assert type(made.transport).__module__ == "pipeline.alerts.smtp"
