"""Stripe: the one module that imports `stripe`, so that a move to another meter stays in one file.

Functions over a frozen `Connection`. What Stripe shows of subscriptions and invoices is in stripe_objects.py, what we ask
it to do with them in stripe_orders.py; both go through `Connection.client` and `named`. Retries are ours (`max_network_retries` is 0): the sender knows what a repeated
request means, a library does not. Each error of the library becomes one of four:
`StripeUnanswered` (it may or may not have been applied), `StripeBusy` (it was not, try later), `StripeExists`, `StripeRefused`.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import stripe

from schemas.errors import DriftlockError, LiveKeyRefused, SettingsError

if TYPE_CHECKING:
    from stripe.params import PriceCreateParams, PriceCreateParamsRecurring, PriceCreateParamsTier

Usage = Literal["licensed", "metered"]

HOUR = 3600
CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0


class StripeUnanswered(DriftlockError):
    """Stripe gave no usable answer: the request may have been applied, may be applied later, or never."""


class StripeBusy(DriftlockError):
    """Stripe answered 429: the request was not applied, it is tried again later."""


class StripeExists(DriftlockError):
    """What was to be made exists already."""


class LiveModeMismatch(DriftlockError):
    """The Stripe key is of the other mode (test, live) than this database: nothing is sent."""


class StripeRefused(DriftlockError):
    """Stripe refused the request; the same request will be refused again."""


class StripeMissing(StripeRefused):
    """Stripe has no such object."""


class BadSignature(DriftlockError):
    """The webhook is not signed with a secret of ours, or not now."""


@dataclass(frozen=True)
class Connection:
    """A client with one key. `livemode` is what the key's prefix says."""

    client: stripe.StripeClient
    livemode: bool


@dataclass(frozen=True)
class Meter:
    """A meter at Stripe: events name `event_name`, summaries are asked for by `id`."""

    id: str
    event_name: str


@dataclass(frozen=True)
class Price:
    """A recurring monthly price at Stripe, found by its lookup key."""

    id: str
    lookup_key: str


@dataclass(frozen=True)
class ShownPrice:
    """What a price costs. `tiers`: (last unit, None for all above; cents a unit); a flat one has one tier."""

    id: str
    active: bool
    product: str
    tiers: tuple[tuple[int | None, Decimal], ...]
    meter: str | None


@dataclass(frozen=True)
class PreviewLine:
    """A line of an invoice. `amount` in whole cents."""

    price: str
    quantity: int
    amount: int


def connect(
    api_key: str,
    *,
    base: str = "",
    allow_live: bool = False,
    timeouts: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
) -> Connection:
    """A connection. `base`: another address of the API. `timeouts`: seconds to connect, to read.

    Raises `SettingsError` for what is no secret or restricted key, `LiveKeyRefused` for a live one without `allow_live`.
    The key is in no message.
    """
    kind, _, rest = api_key.partition("_")
    mode = rest.partition("_")[0]
    if kind not in {"sk", "rk"} or mode not in {"test", "live"}:
        raise SettingsError(
            "STRIPE_API_KEY: must be a secret or restricted key (sk_test_..., rk_test_..., rk_live_...)"
        )
    if mode == "live" and not allow_live:
        raise LiveKeyRefused
    if mode == "live" and base:
        raise LiveKeyRefused(
            "A live Stripe key is set together with STRIPE_API_BASE: it would be sent to another address."
        )
    # The library logs request bodies at debug and errors at info; neither is ours to keep.
    logging.getLogger("stripe").setLevel(logging.WARNING)
    addresses: dict[str, str] = dict.fromkeys(("api", "connect", "files", "meter_events"), base) if base else {}
    client = stripe.StripeClient(
        api_key,
        base_addresses=addresses,  # type: ignore[arg-type]
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=timeouts),
    )
    return Connection(client, livemode=mode == "live")


_EXISTS = frozenset({"resource_already_exists", "duplicate_meter_event"})


@contextmanager
def named() -> Iterator[None]:
    """Name the library's errors; the text holds Stripe's message and code, never the request or the key."""
    try:
        yield
    except stripe.RateLimitError as error:
        raise StripeBusy(_said(error)) from None
    except stripe.InvalidRequestError as error:
        said = _said(error)
        # A used identifier comes without a documented code; its text is what others have met (README.md).
        if "already exists with identifier" in said or error.code in _EXISTS:
            raise StripeExists(said) from None
        if error.code == "resource_missing":
            raise StripeMissing(said) from None
        raise StripeRefused(said) from None
    except (stripe.AuthenticationError, stripe.PermissionError, stripe.CardError, stripe.IdempotencyError) as error:
        if error.http_status == 409:  # the same key is being executed right now
            raise StripeUnanswered(_said(error)) from None
        raise StripeRefused(_said(error)) from None
    except (stripe.APIConnectionError, stripe.APIError) as error:
        raise StripeUnanswered(f"{type(error).__name__} (HTTP {error.http_status or 'none'})") from None


def _said(error: stripe.StripeError) -> str:
    # An authentication error's message repeats a part of the key.
    if isinstance(error, stripe.AuthenticationError):
        return "Stripe does not know this key: check STRIPE_API_KEY"
    return f"Stripe says: {error.user_message} (HTTP {error.http_status}, {error.code or type(error).__name__})"


# What is set up once --------------------------------------------------------------------------------------------------


def ensure_meter(at: Connection, event_name: str, display_name: str) -> Meter:
    """The active meter of an event name, made if there is none: sums, by hour, the latest event of an hour counts.

    Raises `StripeRefused` if it exists with other settings: they can't be changed, and hours would be added up.
    """
    found = _active_meter(at, event_name)
    if found is not None:
        return found
    with named():
        made = at.client.v1.billing.meters.create(
            {
                "display_name": display_name,
                "event_name": event_name,
                "event_time_window": "hour",
                "default_aggregation": {"formula": "sum"},
                "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
                "value_settings": {"event_payload_key": "value"},
            },
        )
        return Meter(made.id, made.event_name)


def find_meter(at: Connection, event_name: str) -> Meter:
    """The active meter of an event name; `StripeRefused` if there is none, or it is none that hour totals may go to."""
    found = _active_meter(at, event_name)
    if found is None:
        raise StripeRefused(f"Stripe has no active meter for {event_name}: run `driftlock stripe sync-prices`")
    return found


def _active_meter(at: Connection, event_name: str) -> Meter | None:
    with named():
        for meter in at.client.v1.billing.meters.list({"status": "active", "limit": 100}).auto_paging_iter():
            if meter.event_name == event_name:
                if meter.event_time_window != "hour" or meter.default_aggregation.formula != "sum":
                    raise StripeRefused(
                        f"meter {meter.id} of {event_name} does not sum by hour: archive it, then sync prices again"
                    )
                return Meter(meter.id, meter.event_name)
    return None


def ensure_product(at: Connection, product_id: str, name: str) -> str:
    """The id of a product whose id we choose, made if it is not there."""
    try:
        with named():
            return at.client.v1.products.create({"id": product_id, "name": name}).id
    except StripeExists:
        return product_id


def ensure_flat_price(at: Connection, product: str, lookup_key: str, cents: int) -> Price:
    """A monthly price of `cents` whole cents, under a lookup key that names its version (amounts never change)."""
    return _ensure_price(
        at, product, lookup_key, {"unit_amount": cents}, {"interval": "month", "usage_type": "licensed"}
    )


def ensure_metered_price(
    at: Connection, product: str, lookup_key: str, meter: Meter, tiers: Sequence[tuple[int | None, Decimal]]
) -> Price:
    """A monthly graduated price of a meter. `tiers`: (last unit of the tier, None for all above; cents per unit)."""
    made: list[PriceCreateParamsTier] = [
        {"up_to": "inf" if up_to is None else up_to, "unit_amount_decimal": cents} for up_to, cents in tiers
    ]
    amounts: dict[str, Any] = {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": made}
    return _ensure_price(
        at, product, lookup_key, amounts, {"interval": "month", "usage_type": "metered", "meter": meter.id}
    )


def _ensure_price(
    at: Connection, product: str, lookup_key: str, amounts: Mapping[str, Any], recurring: "PriceCreateParamsRecurring"
) -> Price:
    with named():
        for found in at.client.v1.prices.list({"lookup_keys": [lookup_key], "limit": 1}).data:
            return Price(found.id, lookup_key)
        asked: PriceCreateParams = {
            "currency": "usd",
            "product": product,
            "lookup_key": lookup_key,
            "recurring": recurring,
            **amounts,  # type: ignore[typeddict-item]
        }
        return Price(at.client.v1.prices.create(asked).id, lookup_key)


def find_price(at: Connection, lookup_key: str) -> ShownPrice | None:
    """The price of a lookup key with what it costs, or None."""
    with named():
        for found in at.client.v1.prices.list({"lookup_keys": [lookup_key], "limit": 1, "expand": ["data.tiers"]}).data:
            steps = [(t.up_to, t.unit_amount_decimal) for t in getattr(found, "tiers", None) or ()] or [
                (None, found.unit_amount_decimal)
            ]
            return ShownPrice(
                found.id,
                found.active,
                found.product if isinstance(found.product, str) else found.product.id,
                tuple((up_to, Decimal(str(cents or 0))) for up_to, cents in steps),
                found.recurring.meter if found.recurring else None,
            )
    return None


# Customers -------------------------------------------------------------------------------------------------------------


def ensure_customer(at: Connection, organization_id: str, name: str) -> str:
    """The id of an organization's customer, made if there is none.

    The search index lags, so the idempotency key covers the first day. The caller stores the id and asks only once.
    """
    with named():
        asked = f"metadata['organization_id']:'{organization_id}'"
        for found in at.client.v1.customers.search({"query": asked, "limit": 1}).data:
            return found.id
        return at.client.v1.customers.create(
            {"name": name, "metadata": {"organization_id": organization_id}},
            {"idempotency_key": f"customer:{organization_id}"},
        ).id


# Usage ----------------------------------------------------------------------------------------------------------------


def send_meter_event(at: Connection, meter: Meter, customer: str, units: int, timestamp: int, identifier: str) -> None:
    """Send a total of whole units. Returns once Stripe has accepted it; `StripeExists`: the identifier was used before.

    The Idempotency-Key is the library's, new for each attempt: under a repeated one Stripe would repeat a saved 500 for
    a day. The identifier is what makes a repetition harmless.
    """
    with named():
        at.client.v1.billing.meter_events.create(
            {
                "event_name": meter.event_name,
                "identifier": identifier,
                "timestamp": timestamp,
                "payload": {"stripe_customer_id": customer, "value": str(units)},
            },
        )


def read_hours(at: Connection, meter: Meter, customer: str, start: int, end: int) -> dict[int, int]:
    """Stripe's summaries of a customer by hour: start of hour → units, hours without usage left out.

    `start` and `end` are seconds since 1970 on the hour, half open. Eventually consistent: read twice.
    """
    with named():
        listed = at.client.v1.billing.meters.event_summaries.list(
            meter.id,
            {
                "customer": customer,
                "start_time": start,
                "end_time": end,
                "value_grouping_window": "hour",
                "limit": 100,
            },
        )
        found = {}
        for summary in listed.auto_paging_iter():
            if summary.aggregated_value != int(summary.aggregated_value):
                raise StripeRefused(f"the summary of {customer} at {summary.start_time} is no whole number")
            found[summary.start_time] = int(summary.aggregated_value)
        return found


def preview_invoice(at: Connection, subscription_id: str) -> tuple[PreviewLine, ...]:
    """The lines of a subscription's next invoice as they stand."""
    with named():
        return _lines(at.client.v1.invoices.create_preview({"subscription": subscription_id}))


def invoice_lines(at: Connection, invoice_id: str) -> tuple[PreviewLine, ...]:
    """The lines of an invoice; of a draft as they stand."""
    with named():
        return _lines(at.client.v1.invoices.retrieve(invoice_id))


def _lines(of: stripe.Invoice) -> tuple[PreviewLine, ...]:
    return tuple(
        PreviewLine(
            str(line.pricing.price_details.price) if line.pricing and line.pricing.price_details else "",
            line.quantity or 0,
            line.amount,
        )
        for line in of.lines.auto_paging_iter()
    )


# Webhooks --------------------------------------------------------------------------------------------------------------

TOLERANCE_SECONDS = 300


def verify_webhook(body: bytes, header: str, secrets: Sequence[str], now: int) -> None:
    """`BadSignature` unless `header` (Stripe-Signature) signs these raw bytes with one of `secrets`, 300 s around `now` (s).

    Several secrets are valid while they are rotated (docs.stripe.com/webhooks). The library compares in constant time;
    the age is checked here, because the present is an argument.
    """
    if not header.isascii():  # the library would compare texts that can't be compared
        raise BadSignature("the Stripe-Signature header has other characters than ASCII")
    stamps = [part[2:] for part in header.split(",") if part.startswith("t=")]
    if len(stamps) != 1 or not (stamps[0].isascii() and stamps[0].isdigit() and len(stamps[0]) < 12):
        raise BadSignature("the Stripe-Signature header is missing or has no time")
    if abs(now - int(stamps[0])) > TOLERANCE_SECONDS:
        raise BadSignature(f"the signature is {now - int(stamps[0])} s old: at most {TOLERANCE_SECONDS} are taken")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise BadSignature("the body is not UTF-8") from None
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(text, header, secret)
        except stripe.SignatureVerificationError:
            continue
        return
    raise BadSignature


def sign_webhook(body: str, secret: str, at: int) -> str:
    """The Stripe-Signature header of a body: what `verify_webhook` takes, for events that we send to ourselves."""
    return str(stripe.WebhookSignature.generate_signature_header(body, secret, at))
