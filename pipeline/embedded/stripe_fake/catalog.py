"""Products and prices (docs.stripe.com/api/prices): flat licensed prices, and metered prices with graduated tiers."""

from decimal import Decimal
from typing import Any

from pipeline.embedded.stripe_fake import params as p
from pipeline.embedded.stripe_fake.errors import invalid, not_modelled
from pipeline.embedded.stripe_fake.sandbox import Object, Sandbox

PRODUCT = p.fields(
    {"name": p.text(250)},
    {"id": p.text(), "description": p.text(), "active": p.flag, "metadata": p.metadata, "unit_label": p.text(12)},
)
PRODUCTS = p.fields(optional={**p.PAGE, "active": p.flag, "ids": p.each(p.text())})
PRICE = p.fields(
    {"currency": p.one_of("usd"), "product": p.text()},
    {
        "active": p.flag,
        "billing_scheme": p.one_of("per_unit", "tiered"),
        "lookup_key": p.text(200),
        "transfer_lookup_key": p.flag,
        "metadata": p.metadata,
        "nickname": p.text(),
        "recurring": p.fields(
            {"interval": p.one_of("day", "week", "month", "year")},
            {"interval_count": p.whole(1, 36), "meter": p.text(), "usage_type": p.one_of("licensed", "metered")},
        ),
        "tax_behavior": p.one_of("exclusive", "inclusive", "unspecified"),
        "tiers": p.each(
            p.fields(
                {"up_to": p.either("inf", p.whole(1))},
                {
                    "unit_amount": p.whole(),
                    "unit_amount_decimal": p.decimal(),
                    "flat_amount": p.whole(),
                    "flat_amount_decimal": p.decimal(),
                },
            )
        ),
        "tiers_mode": p.one_of("graduated", "volume"),
        "unit_amount": p.whole(),
        "unit_amount_decimal": p.decimal(),
    },
)
PRICE_UPDATE = p.fields(
    optional={
        "active": p.flag,
        "metadata": p.metadata,
        "nickname": p.text(),
        "lookup_key": p.text(200),
        "transfer_lookup_key": p.flag,
    }
)
PRICES = p.fields(
    optional={
        **p.PAGE,
        "active": p.flag,
        "product": p.text(),
        "lookup_keys": p.each(p.text(200), 10),
        "expand": p.each(p.one_of("data.tiers")),
    }
)


def create_product(box: Sandbox, given: dict[str, Any]) -> Object:
    """A product; its id may be given."""
    object_id = given.pop("id", None)
    content = {"active": True, "description": None, "metadata": {}, "unit_label": None, **given}
    return box.add("product", "prod", {**content, "updated": box.clock.now()}, object_id)


def list_products(box: Sandbox, given: dict[str, Any]) -> Object:
    """Products, newest first."""
    found = [
        x
        for x in box.all("product")
        if given.get("active") in (None, x["active"]) and x["id"] in given.get("ids", [x["id"]])
    ]
    return p.page(found, given, "/v1/products")


def create_price(box: Sandbox, given: dict[str, Any]) -> Object:
    """A price. A metered one needs a meter; tiers are graduated, the last up to `inf`; a lookup key is unique."""
    box.get("product", given["product"], "product")
    recurring: dict[str, Any] | None = given.get("recurring")
    metered = recurring is not None and recurring.get("usage_type") == "metered"
    if recurring and metered and "meter" not in recurring:
        raise invalid("recurring[meter]", "Metered prices must be backed by a meter.", "parameter_missing")
    if recurring and "meter" in recurring:
        if not metered:
            raise invalid("recurring[meter]", "A meter needs usage_type=metered.")
        box.get("billing.meter", recurring["meter"], "recurring[meter]")
    _check_amounts(given)
    _take_lookup_key(box, given)
    content: Object = {
        "active": True,
        "billing_scheme": "per_unit",
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "type": "one_time" if recurring is None else "recurring",
        **given,
        "recurring": recurring and {"interval_count": 1, "meter": None, "usage_type": "licensed", **recurring},
        **_amounts(given),
    }
    if "tiers" in given:
        content["tiers"] = [
            {
                "up_to": None if tier["up_to"] == "inf" else tier["up_to"],
                **_amounts(tier),
                **_amounts(tier, "flat_amount"),
            }
            for tier in given["tiers"]
        ]
    return box.add("price", "price", content)


def _check_amounts(given: dict[str, Any]) -> None:
    flat = "unit_amount" in given or "unit_amount_decimal" in given
    if given.get("billing_scheme") != "tiered":
        if not flat or "tiers" in given or "tiers_mode" in given:
            raise invalid("unit_amount", "A per-unit price needs unit_amount or unit_amount_decimal and no tiers.")
        return
    if flat or not given.get("tiers") or "tiers_mode" not in given:
        raise invalid("tiers", "A tiered price needs tiers and tiers_mode and no unit_amount.")
    if given["tiers_mode"] != "graduated":
        raise not_modelled("volume tiers")
    borders = [tier["up_to"] for tier in given["tiers"]]
    if borders[-1] != "inf" or "inf" in borders[:-1] or borders[:-1] != sorted(set(borders[:-1])):
        raise invalid("tiers", "Tiers must rise and the last must be up to inf.")


def _take_lookup_key(box: Sandbox, given: dict[str, Any], own: str = "") -> None:
    transfer = given.pop("transfer_lookup_key", False)
    key = given.get("lookup_key")
    for other in box.all("price"):
        if key and other["lookup_key"] == key and other["id"] != own:
            if not transfer:
                raise invalid("lookup_key", f"A price ({other['id']}) already uses that lookup key.")
            other["lookup_key"] = None


def _amounts(given: dict[str, Any], name: str = "unit_amount") -> dict[str, Any]:
    text = given.get(f"{name}_decimal", str(given[name]) if name in given else None)
    if text is None:
        return {name: None, f"{name}_decimal": None}
    whole = Decimal(text) == Decimal(text).to_integral_value()
    return {name: int(Decimal(text)) if whole else None, f"{name}_decimal": text}


def update_price(box: Sandbox, price_id: str, given: dict[str, Any]) -> Object:
    """Change what can be changed of a price: never its amounts."""
    price = box.get("price", price_id)
    _take_lookup_key(box, given, price_id)
    merged = {**price["metadata"], **given.pop("metadata", {})}
    price.update(given, metadata={key: value for key, value in merged.items() if value})
    return shown(price)


def list_prices(box: Sandbox, given: dict[str, Any]) -> Object:
    """Prices, newest first; tiers only where they are asked for."""
    keys = given.get("lookup_keys")
    found = [
        shown(x, tiers=bool(given.get("expand")))
        for x in box.all("price")
        if given.get("active") in (None, x["active"])
        and given.get("product") in (None, x["product"])
        and (keys is None or x["lookup_key"] in keys)
    ]
    return p.page(found, given, "/v1/prices")


def shown(price: Object, *, tiers: bool = False) -> Object:
    """A price as it is answered: tiers are left out unless expanded."""
    return price if tiers else {key: value for key, value in price.items() if key != "tiers"}
