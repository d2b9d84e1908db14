"""Events of Stripe, pure: what is read of a body, and what is refused before it reaches a table."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import webhooks
from billing.events import BadEvent, parse
from billing.stripe_objects import kind_of

EVENT: dict[str, Any] = {"id": "evt_1", "type": "invoice.paid", "livemode": False, "created": 1_700_000_000}


def test_an_event_names_its_object() -> None:
    found = parse(orjson.dumps({**EVENT, "data": {"object": {"id": "in_1"}}}))
    assert (found.id, found.object_id, found.created_at) == (
        "evt_1",
        "in_1",
        datetime.fromtimestamp(1_700_000_000, UTC),
    )
    thin = {**EVENT, "created": "2026-11-23T14:00:00Z", "related_object": {"id": "mtr_1"}}
    assert (parse(orjson.dumps(thin)).object_id, parse(orjson.dumps(thin)).created_at.hour) == ("mtr_1", 14)


@pytest.mark.parametrize("data", [None, [], {}, {"object": None}, {"object": {"id": 7}}, {"object": {"id": "x" * 300}}])
def test_an_event_without_an_object_is_none_of_ours_and_still_an_event(data: Any) -> None:
    assert parse(orjson.dumps({**EVENT, "data": data})).object_id is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=9), of, max_size=3),
    max_leaves=8,
)  # fmt: skip


def refusal(body: bytes) -> str:
    """Why a body is refused, or nothing."""
    try:
        parse(body)
    except BadEvent as error:
        return str(error)
    return ""


@given(st.binary(max_size=200) | JSON.map(orjson.dumps))
def test_any_bytes_are_an_event_or_refused_in_one_line(body: bytes) -> None:
    assert "\n" not in refusal(body)


@given(st.dictionaries(st.sampled_from(("id", "type", "livemode", "created", "data", "related_object")), JSON))
def test_any_fields_are_an_event_or_refused_in_one_line(fields: dict[str, Any]) -> None:
    assert "\n" not in refusal(orjson.dumps({**EVENT, **fields}))


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        ("checkout.session.completed", "session"),
        ("checkout.session.expired", ""),
        ("customer.subscription.created", "subscription"),
        ("customer.subscription.trial_will_end", "subscription"),
        ("customer.updated", ""),
        ("invoice.created", "invoice"),
        ("invoice.payment_failed", "invoice"),
        ("invoice.upcoming", ""),
        ("invoiceitem.created", ""),
        ("v1.billing.meter.error_report_triggered", "rejection"),
        ("v1.billing.meter.no_meter_found", "rejection"),
        ("charge.refunded", ""),
    ],
)
def test_what_a_type_says_has_changed(event_type: str, kind: str) -> None:
    assert kind_of(event_type) == kind


def test_secrets_are_told_apart_by_commas() -> None:
    assert webhooks.secrets_of(" a , b,,") == ("a", "b")
    assert webhooks.secrets_of("") == ()
