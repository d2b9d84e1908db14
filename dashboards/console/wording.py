"""Numbers and times as people read them: filters of the templates."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from markupsafe import Markup, escape

from pipeline.scan.printable import short
from schemas.models import BIT

_DECADES = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))
_SIZES = ((1 << 20, "MiB"), (1 << 10, "KiB"))


def number(value: int) -> str:
    """1,234,567."""
    return f"{value:,}"


def bits(value: int) -> str:
    """Bits of 2^-16 bit, to a tenth."""
    return f"{value / BIT:,.1f}"


def p_value(surprisal: int) -> str:
    """The p-value of a surprisal in 2^-16 bit: `3e-07`."""
    return f"{2.0 ** (-surprisal / BIT):.1g}"


def odds(surprisal: int) -> str:
    """How rarely normal telemetry is as surprising: `1 in 3.4 million`."""
    one_in = 2.0 ** min(surprisal / BIT, 60)
    for size, name in _DECADES:
        if one_in >= size:
            return f"1 in {one_in / size:,.1f} {name}"
    return f"1 in {one_in:,.0f}"


def size(count: int) -> str:
    """Bytes."""
    for unit, name in _SIZES:
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return "1 byte" if count == 1 else f"{count:,} bytes"


def dollars(cents: Decimal | int) -> str:
    """Money of whole cents: `$49.00`."""
    sign = "-" if cents < 0 else ""
    return f"{sign}${abs(Decimal(cents)) / 100:,.2f}"


def rate(cents: Decimal | int) -> str:
    """A price of one unit, with all its places: `$0.001`."""
    exact = (Decimal(cents) / 100).normalize()
    places = max(2, -int(exact.as_tuple().exponent))
    return f"${exact:,.{places}f}"


def when(at: datetime) -> str:
    """A time of UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def day(at: datetime) -> str:
    """A day of UTC."""
    return f"{at.astimezone(UTC):%-d %B %Y}"


def iso(at: datetime) -> str:
    """For machines: the `datetime` of <time>."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def coded(sentence: str) -> Markup:
    """A sentence of the detector with its quoted tokens as code.

    >>> coded("`<b>` is new")
    Markup('<code>&lt;b&gt;</code> is new')
    """
    parts = [escape(part) for part in sentence.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts))


def plural(count: int, one: str, many: str = "") -> str:
    """`1 event`, `2,000 events`."""
    return f"1 {one}" if count == 1 else f"{count:,} {many or one + 's'}"


def lasting(seconds: int) -> str:
    """About how long, in the largest unit of which there are two.

    >>> [lasting(seconds) for seconds in (90, 7_100, 100_000, 200_000)]
    ['about 90 s', 'about 118 min', 'about 27 h', 'about 2 days']
    """
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"about {seconds // size} {unit}"
    return f"about {seconds} s"


_KINDS = {
    "value": "new value",
    "template": "new form of event",
    "burst": "burst",
    "session": "unusual sequence",
    "number": "unusual number",
    "rate": "unusual rate",
    "silence": "silence",
}


def kind(name: str) -> str:
    """A channel of the detector as people call it; one that is not known here as it is.

    >>> kind("value"), kind("other")
    ('new value', 'other')
    """
    return _KINDS.get(name, name)


FILTERS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (number, bits, p_value, odds, size, dollars, rate, when, day, iso, plural, coded, short, lasting, kind)
}
