"""`driftlock stripe trigger TYPE`: a fixture of an event, signed with our own secret, to the receiver on this machine."""

import os
import secrets
import sys
from datetime import UTC, datetime
from urllib.parse import urlsplit

from schemas.errors import DriftlockError, SettingsError
from schemas.settings import load

_OBJECTS = {
    "checkout.session": "cs_test_",
    "customer.subscription": "sub_",
    "invoice": "in_",
    "v1.billing.meter": "mtr_test_",
}


class NotTaken(DriftlockError):
    """The receiver did not take the event."""


def trigger(event_type: str, /, *, object_id: str = "", url: str = "") -> int:
    """Send an event to the local receiver, as Stripe would, and say what it answered.

    The applier fetches the object's present state: give the id of one that is there, else the event can't be applied.

    Parameters
    ----------
    event_type
        As checkout.session.completed, customer.subscription.updated, invoice.paid.
    object_id
        The id of the object that changed; made up where none is given.
    url
        The receiver; by default that of this machine's API.
    """
    import httpx
    import orjson

    from billing import stripe_gateway as gateway
    from billing import webhooks

    settings = load(os.environ)
    signed_with = webhooks.secrets_of(settings.stripe_webhook_secrets.get_secret_value())
    if not signed_with:
        raise SettingsError("STRIPE_WEBHOOK_SECRETS is not set: the event could not be signed")
    if settings.stripe_api_key.get_secret_value().partition("_")[2].startswith("live"):
        raise SettingsError("a fixture is of test mode: refused with a live Stripe key")
    where = url or f"http://{settings.host}:{settings.port}/webhooks/stripe"
    if urlsplit(where).hostname not in {"127.0.0.1", "localhost", "::1"}:
        raise SettingsError(f"--url: a fixture goes to this machine only, not to {urlsplit(where).hostname}")
    now = int(datetime.now(UTC).timestamp())
    body = orjson.dumps(fixture(event_type, object_id, now)).decode()
    header = gateway.sign_webhook(body, signed_with[0], now)
    try:
        answer = httpx.post(where, content=body, headers={"Stripe-Signature": header}, timeout=10)
    except httpx.TransportError as error:
        raise NotTaken(f"nothing answers at {where}: is `driftlock api run` up? ({error})") from error
    sys.stdout.write(f"{event_type}: HTTP {answer.status_code} {answer.text}\n")
    return 0 if answer.status_code == 200 else 1


def fixture(event_type: str, object_id: str, now: int) -> dict[str, object]:
    """An event of test mode that says that an object changed; thin where Stripe's is."""
    event_id, made_up = f"evt_test_{secrets.token_hex(12)}", secrets.token_hex(12)
    prefix = next((p for name, p in _OBJECTS.items() if event_type.startswith(f"{name}.")), "obj_")
    named = object_id or f"{prefix}{made_up}"
    if event_type.startswith("v1."):
        created = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}"
        related = {"id": named, "type": "billing.meter", "url": f"/v1/billing/meters/{named}"}
        head = {"id": event_id, "object": "v2.core.event", "type": event_type, "created": created}
        return {**head, "livemode": False, "related_object": related}
    thing = {"id": named, "object": event_type.rpartition(".")[0]}
    head = {"id": event_id, "object": "event", "type": event_type, "created": str(now)}
    return {**head, "created": now, "livemode": False, "data": {"object": thing}}
