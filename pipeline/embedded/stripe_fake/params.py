"""Stripe's form encoding, and strict parameters: what an endpoint does not know is refused, as Stripe does.

A `Parse` takes (path, raw value) and gives the value or raises `ApiError`. `fields` builds one for an object.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

from pipeline.embedded.stripe_fake.errors import invalid, missing_parameter, unknown_parameter

Parse = Callable[[str, Any], Any]


def decode(query: str) -> dict[str, Any]:
    """`a[b][0][c]=x&d[]=y` as nested dicts; a list is a dict of its indexes until a `Parse` says that it is one."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=10_000):
        head, *rest = name.replace("]", "").split("[")
        node, path = root, [head, *rest]
        for part in path[:-1]:
            child = node.setdefault(part, {})
            if not isinstance(child, dict):
                raise invalid(name, f"Invalid object: {name}")
            node = child
        last = path[-1]
        node[str(len(node)) if last == "" else last] = value
    return root


def text(most: int = 5000) -> Parse:
    """A string of at most `most` characters."""

    def parse(path: str, raw: Any) -> str:
        if not isinstance(raw, str):
            raise invalid(path, f"Invalid string: {path}")
        if len(raw) > most:
            raise invalid(
                path, f"Invalid string: {path}; must be at most {most} characters", "parameter_invalid_string"
            )
        return raw

    return parse


def whole(least: int = 0, most: int = 1 << 53) -> Parse:
    """An integer from `least` to `most`."""

    def parse(path: str, raw: Any) -> int:
        if not isinstance(raw, str) or not raw.removeprefix("-").isascii() or not raw.removeprefix("-").isdigit():
            raise invalid(path, f"Invalid integer: {raw}", "parameter_invalid_integer")
        value = int(raw)
        if not least <= value <= most:
            raise invalid(path, f"{path} must be from {least} to {most}", "parameter_invalid_integer")
        return value

    return parse


def decimal(places: int = 12) -> Parse:
    """A non-negative decimal with at most `places` digits after the point, kept as its string."""

    def parse(path: str, raw: Any) -> str:
        try:
            value = Decimal(str(raw))
        except InvalidOperation as error:
            raise invalid(path, f"Invalid decimal: {raw}") from error
        exponent = value.as_tuple().exponent
        if not value.is_finite() or value < 0 or not isinstance(exponent, int) or -exponent > places:
            raise invalid(path, f"Invalid decimal: {raw}; at most {places} decimal places")
        return format(value.normalize(), "f")

    return parse


def flag(path: str, raw: Any) -> bool:
    """`true` or `false`."""
    if raw not in ("true", "false"):
        raise invalid(path, f"Invalid boolean: {raw}")
    return bool(raw == "true")


def one_of(*choices: str) -> Parse:
    """One of some words."""

    def parse(path: str, raw: Any) -> str:
        if raw not in choices:
            raise invalid(path, f"Invalid {path}: must be one of {', '.join(choices)}")
        return str(raw)

    return parse


def either(word: str, other: Parse) -> Parse:
    """A certain word, or something else."""

    def parse(path: str, raw: Any) -> Any:
        return raw if raw == word else other(path, raw)

    return parse


def each(of: Parse, most: int = 100) -> Parse:
    """A list of at most `most`."""

    def parse(path: str, raw: Any) -> list[Any]:
        if not isinstance(raw, dict) or sorted(raw) != sorted(map(str, range(len(raw)))) or len(raw) > most:
            raise invalid(path, f"Invalid array: {path}")
        return [of(f"{path}[{i}]", raw[str(i)]) for i in range(len(raw))]

    return parse


def metadata(path: str, raw: Any) -> dict[str, str]:
    """At most 50 pairs; keys up to 40 characters, values up to 500."""
    if not isinstance(raw, dict) or len(raw) > 50:
        raise invalid(path, f"Invalid hash: {path}")
    for key, value in raw.items():
        if len(key) > 40 or not isinstance(value, str) or len(value) > 500:
            raise invalid(f"{path}[{key}]", "Metadata keys are up to 40 characters, values up to 500")
    return dict(raw)


def fields(required: Mapping[str, Parse] | None = None, optional: Mapping[str, Parse] | None = None) -> Parse:
    """An object of named fields; anything else in it is refused."""
    needed, known = required or {}, {**(required or {}), **(optional or {})}

    def parse(path: str, raw: Any) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise invalid(path, f"Invalid object: {path}")

        def at(name: str) -> str:
            return f"{path}[{name}]" if path else name

        for name in raw:
            if name not in known:
                raise unknown_parameter(at(name))
        for name in needed:
            if name not in raw:
                raise missing_parameter(at(name))
        return {name: known[name](at(name), value) for name, value in raw.items()}

    return parse


PAGE: dict[str, Parse] = {"limit": whole(1, 100), "starting_after": text(), "ending_before": text()}
"""What every list takes."""


def page(items: Sequence[dict[str, Any]], given: Mapping[str, Any], url: str) -> dict[str, Any]:
    """A page of a list in its order: `limit` objects after `starting_after`, or before `ending_before`."""
    limit = given.get("limit", 10)
    ids = [item["id"] for item in items]
    for name in ("starting_after", "ending_before"):
        if name in given and given[name] not in ids:
            raise invalid(name, f"No such object: '{given[name]}'", "resource_missing")
    if "ending_before" in given:
        end = ids.index(given["ending_before"])
        start = max(0, end - limit)
        more = start > 0
    else:
        start = ids.index(given["starting_after"]) + 1 if "starting_after" in given else 0
        end = min(len(items), start + limit)
        more = end < len(items)
    return {"object": "list", "url": url, "has_more": more, "data": list(items[start:end])}
