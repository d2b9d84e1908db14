"""Customers (docs.stripe.com/api/customers)."""

import re
from typing import Any

from pipeline.embedded.stripe_fake import events
from pipeline.embedded.stripe_fake import params as p
from pipeline.embedded.stripe_fake.errors import not_modelled
from pipeline.embedded.stripe_fake.sandbox import Object, Sandbox

_CONTENT = {"name": p.text(256), "email": p.text(512), "description": p.text(), "metadata": p.metadata}
CREATE = p.fields(optional={**_CONTENT, "test_clock": p.text()})
WRITE = p.fields(optional=_CONTENT)
LIST = p.fields(optional={**p.PAGE, "email": p.text(512)})
SEARCH = p.fields({"query": p.text()}, {"limit": p.whole(1, 100)})
_BY_METADATA = re.compile(r"""metadata\['([^']+)'\]:'([^']*)'""")


def create(box: Sandbox, given: dict[str, Any]) -> Object:
    """A customer, of a test clock where one is named."""
    if "test_clock" in given:
        box.get("test_helpers.test_clock", given["test_clock"], "test_clock")
    made = box.add(
        "customer",
        "cus",
        {
            "name": None,
            "email": None,
            "description": None,
            "metadata": {},
            "balance": 0,
            "currency": "usd",
            "delinquent": False,
            "invoice_settings": {"default_payment_method": None},
            **given,
        },
    )
    events.record(box, "customer.created", made)
    return made


def update(box: Sandbox, customer_id: str, given: dict[str, Any]) -> Object:
    """Change a customer; metadata is merged, a key with an empty value goes."""
    customer = box.get("customer", customer_id)
    merged = {**customer["metadata"], **given.pop("metadata", {})}
    customer.update(given, metadata={key: value for key, value in merged.items() if value})
    events.record(box, "customer.updated", customer)
    return customer


def retrieve(box: Sandbox, customer_id: str) -> Object:
    """One customer; a deleted one as such."""
    found = box.get("customer", customer_id)
    return {"id": customer_id, "object": "customer", "deleted": True} if found.get("deleted") else found


def listing(box: Sandbox, given: dict[str, Any]) -> Object:
    """Customers, newest first."""
    found = [c for c in box.all("customer") if not c.get("deleted") and given.get("email") in (None, c["email"])]
    return p.page(found, given, "/v1/customers")


def search(box: Sandbox, given: dict[str, Any]) -> Object:
    """Customers by one pair of metadata; Stripe's index lags by up to a minute, and so does this one."""
    asked = _BY_METADATA.fullmatch(given["query"])
    if asked is None:
        raise not_modelled("this search query")
    key, value = asked.groups()
    indexed = box.clock.now() - 60
    found = [
        c
        for c in box.all("customer")
        if not c.get("deleted") and c["metadata"].get(key) == value and c["created"] <= indexed
    ]
    limit = given.get("limit", 10)
    return {
        "object": "search_result",
        "url": "/v1/customers/search",
        "has_more": len(found) > limit,
        "next_page": None,
        "data": found[:limit],
    }
