"""The table of endpoints: method, path, parameters, function. What is not in it is answered as Stripe answers nonsense."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.embedded.stripe_fake import (
    catalog,
    checkout,
    collection,
    customers,
    events,
    invoices,
    meters,
    rejections,
    schedules,
    subscriptions,
    test_clocks,
)
from pipeline.embedded.stripe_fake import params as p
from pipeline.embedded.stripe_fake.errors import ApiError
from pipeline.embedded.stripe_fake.sandbox import Object, Sandbox

Endpoint = Callable[..., Object]
NONE = p.fields()


@dataclass(frozen=True)
class Route:
    """One endpoint. `{id}` in the path is given to the function between the sandbox and the parameters."""

    method: str
    path: str
    parse: p.Parse
    run: Endpoint

    @property
    def pattern(self) -> re.Pattern[str]:
        """What matches its path."""
        return re.compile(re.escape(self.path).replace(r"\{id\}", r"([A-Za-z0-9_.:-]+)"))


def _retrieve(kind: str) -> Endpoint:
    return lambda box, object_id, _given: box.get(kind, object_id)


ROUTES = (
    Route("POST", "/v1/customers", customers.CREATE, customers.create),
    Route("GET", "/v1/customers", customers.LIST, customers.listing),
    Route("GET", "/v1/customers/search", customers.SEARCH, customers.search),
    Route("GET", "/v1/customers/{id}", NONE, lambda box, one, _: customers.retrieve(box, one)),
    Route("DELETE", "/v1/customers/{id}", NONE, lambda box, one, _: subscriptions.delete_customer(box, one)),
    Route("POST", "/v1/customers/{id}", customers.WRITE, customers.update),
    Route("POST", "/v1/products", catalog.PRODUCT, catalog.create_product),
    Route("GET", "/v1/products", catalog.PRODUCTS, catalog.list_products),
    Route("GET", "/v1/products/{id}", NONE, _retrieve("product")),
    Route("POST", "/v1/prices", catalog.PRICE, lambda box, given: catalog.shown(catalog.create_price(box, given))),
    Route("GET", "/v1/prices", catalog.PRICES, catalog.list_prices),
    Route("GET", "/v1/prices/{id}", NONE, lambda box, price, _: catalog.shown(box.get("price", price))),
    Route("POST", "/v1/prices/{id}", catalog.PRICE_UPDATE, catalog.update_price),
    Route("POST", "/v1/subscriptions", subscriptions.CREATE, subscriptions.create),
    Route("GET", "/v1/subscriptions", subscriptions.LIST, subscriptions.listing),
    Route("GET", "/v1/subscriptions/{id}", NONE, _retrieve("subscription")),
    Route("POST", "/v1/subscriptions/{id}", subscriptions.UPDATE, subscriptions.update),
    Route("DELETE", "/v1/subscriptions/{id}", NONE, lambda box, one, _: subscriptions.cancel(box, one)),
    Route("POST", "/v1/subscription_schedules", schedules.CREATE, schedules.create),
    Route("GET", "/v1/subscription_schedules/{id}", NONE, _retrieve(schedules.KIND)),
    Route("POST", "/v1/subscription_schedules/{id}", schedules.UPDATE, schedules.update),
    Route("POST", "/v1/subscription_schedules/{id}/release", NONE, schedules.release),
    Route("POST", "/v1/billing/meters", meters.CREATE, meters.create),
    Route("GET", "/v1/billing/meters", meters.LIST, meters.listing),
    Route("GET", "/v1/billing/meters/{id}", NONE, _retrieve(meters.KIND)),
    Route("POST", "/v1/billing/meters/{id}/deactivate", NONE, lambda b, m, _: meters.set_status(b, m, "inactive")),
    Route("POST", "/v1/billing/meters/{id}/reactivate", NONE, lambda b, m, _: meters.set_status(b, m, "active")),
    Route("GET", "/v1/billing/meters/{id}/event_summaries", meters.SUMMARIES, meters.summaries),
    Route("POST", "/v1/billing/meter_events", meters.EVENT, meters.send),
    Route("POST", "/v1/invoices/create_preview", invoices.PREVIEW, invoices.preview),
    Route("GET", "/v1/invoices", invoices.LIST, invoices.listing),
    Route("GET", "/v1/invoices/{id}", NONE, lambda box, one, _: invoices.retrieve(box, one)),
    Route("POST", "/v1/invoices/{id}", invoices.UPDATE, invoices.update),
    Route("POST", "/v1/invoices/{id}/pay", NONE, lambda box, one, _: collection.pay(box, one)),
    Route("POST", "/v1/credit_notes", invoices.CREDIT, invoices.credit),
    Route("GET", "/v1/credit_notes", invoices.CREDITS, invoices.list_credits),
    Route("GET", "/v1/credit_notes/{id}", NONE, _retrieve("credit_note")),
    Route("POST", "/v1/checkout/sessions", checkout.CREATE, checkout.create),
    Route("GET", "/v1/checkout/sessions", checkout.LIST, checkout.listing),
    Route("GET", "/v1/checkout/sessions/{id}", NONE, lambda box, one, _: checkout.retrieve(box, one)),
    Route("POST", "/v1/billing_portal/sessions", checkout.PORTAL, checkout.portal),
    Route("POST", "/v1/coupons", checkout.COUPON, checkout.create_coupon),
    Route("POST", "/v1/promotion_codes", checkout.CODE, checkout.create_code),
    Route("GET", "/v1/promotion_codes", checkout.CODES, checkout.list_codes),
    Route("GET", "/v1/events", events.LIST, events.listing),
    Route("GET", "/v2/core/events/{id}", NONE, rejections.retrieve),
    Route("POST", "/v1/test_helpers/test_clocks", test_clocks.CREATE, test_clocks.create),
    Route("GET", "/v1/test_helpers/test_clocks/{id}", NONE, _retrieve(test_clocks.KIND)),
    Route("POST", "/v1/test_helpers/test_clocks/{id}/advance", test_clocks.ADVANCE, test_clocks.advance),
    Route("DELETE", "/v1/test_helpers/test_clocks/{id}", NONE, test_clocks.delete),
)
_COMPILED = tuple((route, route.pattern) for route in ROUTES)


def find(method: str, path: str) -> tuple[Route, tuple[str, ...]]:
    """The endpoint of a request, and the ids in its path; the first that matches wins."""
    for route, pattern in _COMPILED:
        if route.method == method and (found := pattern.fullmatch(path)):
            return route, found.groups()
    raise ApiError(404, f"Unrecognized request URL ({method}: {path}).")


def run(box: Sandbox, method: str, path: str, given: dict[str, Any]) -> Object:
    """The answer of a request; `ApiError` if it is refused. An error of validation says that nothing was executed."""
    route, ids = find(method, path)
    checked = route.parse("", given)
    return route.run(box, *ids, checked)
