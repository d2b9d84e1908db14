"""API, functions, and what the running whole promises."""

import json
import time
from datetime import UTC, datetime
from email import message_from_bytes, policy

import httpx
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from billing import stripe_gateway
from billing.outbox import Letter, put
from pipeline.embedded.ports import LOOPBACK, free_ports
from pipeline.stack import demonstration
from schemas.notices import BillingPlanChanged
from tests.deploy.compose import ROOT
from tests.verify.ground import Ground, answer, until

PROBLEM = "application/problem+json"


def says_what_runs(ground: Ground) -> str:
    """GET /v1/version."""
    said = answer(f"{ground.api}/v1/version").json()
    assert set(said) == {"version", "commit", "schema_version", "detector_version"}
    return f"{said['version']}, detector {said['detector_version']}"


def describes_itself(ground: Ground) -> str:
    """The document that the API serves is the committed one."""
    committed = json.loads((ROOT / "pipeline" / "api" / "openapi.json").read_text("utf-8"))
    served = answer(f"{ground.api}/openapi.json").json()
    assert served["paths"] == committed["paths"]
    return f"{len(served['paths'])} paths"


def lets_nobody_in(ground: Ground) -> str:
    """Without a key nothing is read or written: 401, as a problem."""
    asked = [
        httpx.get(f"{ground.api}/v1/anomalies", timeout=10),
        httpx.post(f"{ground.api}/v1/events", content=b"{}", timeout=10),
    ]
    for one in asked:
        assert one.status_code == 401, one.status_code
        assert one.headers["content-type"] == PROBLEM
    return "401, 401"


def answers_in_problems(ground: Ground) -> str:
    """What is wrong is said as RFC 9457 says, without what was sent."""
    one = httpx.post(
        f"{ground.api}/v1/sessions", content=b'{"secret-thing', headers={"Content-Type": "application/json"}, timeout=10
    )
    two = answer(f"{ground.api}/secret-thing")
    for said in (one, two):
        assert 400 <= said.status_code < 500, said.status_code
        assert said.headers["content-type"] == PROBLEM
        assert "secret-thing" not in said.text
    return f"{one.status_code}, {two.status_code}"


def health(ground: Ground) -> str:
    """health: GET /healthz."""
    found = answer(f"{ground.api}/healthz")
    assert (found.status_code, found.json()) == (200, {"status": "ok"})
    return found.text


def stripe_webhook(ground: Ground) -> str:
    """stripe-webhook: a signed event is stored once and applied; a forged one is refused."""
    secret = ground.parts.environ["STRIPE_WEBHOOK_SECRETS"]
    body = json.dumps({
        "id": "evt_verify", "object": "event", "type": "plan.created", "livemode": False, "created": int(time.time()),
        "api_version": "2025-03-31.basil", "data": {"object": {"id": "plan_verify", "object": "plan"}},
    })  # fmt: skip
    answers = []
    for key in (secret, secret, "whsec_" + "forged" * 4):
        signed = stripe_gateway.sign_webhook(body, key, int(time.time()))
        answers.append(
            httpx.post(
                f"{ground.api}/webhooks/stripe", content=body, headers={"Stripe-Signature": signed}, timeout=10
            ).status_code
        )
    assert answers == [200, 200, 400]
    query = "SELECT count(*) FILTER (WHERE state <> 'stored'), count(*) FROM stripe_events WHERE id = 'evt_verify'"
    until(lambda: ground.sql(query) == [(1, 1)], "the event is applied")
    return "200, 200 (known), 400"


def meter_usage(ground: Ground) -> str:
    """meter-usage: the units of the recording are in the ledger, in hours, and at Stripe, the same number."""
    assert demonstration.wrong(ground.sent, ground.outcome, ground.bill) == []
    return f"ledger {ground.bill.reconciled.ledger_units} = Stripe {ground.bill.reconciled.stripe_units} units"


class _Inbox:
    def __init__(self) -> None:
        self.taken: list[Envelope] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 as aiosmtpd calls it
        self.taken.append(envelope)
        return "250 OK"


def _text(envelope: Envelope) -> str:
    made = message_from_bytes(bytes(envelope.content or b""), policy=policy.default)  # type: ignore[arg-type]
    body = made.get_body(("plain",))
    return "" if body is None else str(body.get_content())


def send_alert_email(ground: Ground) -> str:
    """send-alert-email: what the outbox holds is mailed, once."""
    import psycopg

    inbox = _Inbox()
    (port,) = free_ports(1)
    controller = Controller(inbox, hostname=LOOPBACK, port=port)
    controller.start()
    try:
        at = int(datetime.now(UTC).timestamp() * 1000)
        with psycopg.connect(ground.parts.postgres.url()) as connection:
            connection.execute("UPDATE organizations SET billing_email = 'ops@verify.test'")
            notice = BillingPlanChanged(
                organization_id=ground.seeded.organization_id, at=at, was="standard", plan="pro", from_at=at
            )
            put(connection, [Letter("verify", notice)])
        mail = {"SMTP_HOST": LOOPBACK, "SMTP_PORT": str(port), "SMTP_SECURITY": "none"}
        environ = {**ground.parts.environ, **mail, "OPERATOR_EMAIL": "run@verify.test"}  # an alarm waits for nobody
        done = [ground.driftlock("alerts", "run", "--once", environ=environ) for _ in range(2)]
    finally:
        controller.stop()
    assert [one.returncode for one in done] == [0, 0], done[0].stderr
    ours = [_text(e) for e in inbox.taken if e.rcpt_tos == ["ops@verify.test"]]
    assert len([text for text in ours if "to Pro" in text]) == 1, ours
    return f"one mail of {len(ours[0])} characters"


def loses_nothing(ground: Ground) -> str:
    """Every event that was sent is scored, a duplicate or a dead letter."""
    assert ground.outcome.events == ground.sent
    return f"{ground.sent:,} = {ground.outcome.scored:,} + {ground.outcome.duplicates} + {ground.outcome.dead_letters}"


def bills_anomalies_alone(ground: Ground) -> str:
    """Units are anomalies: as many entries of the ledger as anomalies, each under its id."""
    query = (
        "SELECT (SELECT count(*) FROM ledger l JOIN anomalies a ON a.id = l.usage_id), (SELECT count(*) FROM ledger),"
        " (SELECT count(*) FROM anomalies)"
    )
    # A stream that ended may be called silent meanwhile: its anomaly and its unit come by two topics.
    until(lambda: len(set(ground.sql(query)[0])) == 1, "each anomaly has its entry, each entry its anomaly")
    return f"{ground.sql(query)[0][0]} anomalies, {ground.sql(query)[0][1]} entries"


def has_a_whole_ledger(ground: Ground) -> str:
    """driftlock ledger verify, driftlock audit verify."""
    said = []
    for words in (("ledger", "verify"), ("audit", "verify")):
        done = ground.driftlock(*words, environ=ground.parts.environ)
        assert done.returncode == 0, done.stdout + done.stderr
        said.append(done.stdout.strip().splitlines()[-1])
    return "; ".join(said)


def agrees_with_stripe(ground: Ground) -> str:
    """driftlock billing reconcile: all six pairs of totals are equal."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    done = ground.driftlock("billing", "reconcile", "--at", at, environ=ground.parts.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return f"{len(done.stdout.splitlines())} lines, nothing differs"


def shows_nothing_to_strangers(ground: Ground) -> str:
    """A reader without an organization sees no row, of any table that holds tenants' rows."""
    for table in ("anomalies", "ledger", "usage_counters", "organizations"):
        assert ground.sql(f"SELECT count(*) FROM {table}", "driftlock_reader") == [(0,)], table
        assert ground.sql(f"SELECT count(*) > 0 FROM {table}") == [(True,)], table
    return "4 tables, 0 rows"


def serves_its_console(ground: Ground) -> str:
    """The console's first page, with its headers."""
    url = f"http://127.0.0.1:{ground.parts.ports['console']}"
    page = answer(f"{url}/scan")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    return f"{len(page.text)} characters"
