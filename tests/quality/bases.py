"""Base texts of our own: quiet events of made services, whose fields depend on each other as real ones do.

A base draws everything from the generator it is given, so a seed gives one stream. `web`, `orders` and `batches` are for everyday
measurement; `mail`, `gateway`, `accounts` and `jobs` are kept for the injected streams, which are looked at only at the end.
"""

from collections.abc import Callable

import numpy as np

from tests.quality.labelled import Event

Rng = np.random.Generator
Base = Callable[[Rng, int], list[Event]]
START = 1_780_000_000
"""Seconds since 1970 at which every made stream begins."""

_AGENTS = ("Firefox/141.0 (X11; Linux)", "Chrome/139.0 (Windows)", "Safari/26.1 (iPhone)", "shop-android/6.2")
_PAGES = ("/", "/search", "/item/{}", "/basket", "/checkout", "/static/app.{}.js", "/account", "/api/price/{}")
_PAGE_SHARE = (0.16, 0.14, 0.25, 0.08, 0.03, 0.2, 0.04, 0.1)


def web(rng: Rng, n: int) -> list[Event]:
    """Access-log lines: who comes back keeps address and browser; status and size go with the page."""
    visitors = [(f"10.{rng.integers(4)}.{rng.integers(256)}.{rng.integers(256)}", _AGENTS[min(int(rng.geometric(0.5)) - 1, 3)]) for _ in range(400)]  # fmt: skip
    sizes = (5200, 8100, 12_400, 2300, 1900, 88_000, 3100, 420)
    who, page, chance = rng.integers(400, size=n), rng.choice(8, n, p=_PAGE_SHARE), rng.random((n, 2))
    spread, number = rng.normal(0, 0.15, n), rng.geometric(0.01, n)
    lines: list[Event] = []
    for i in range(n):
        address, agent = visitors[int(who[i])]
        kind = int(page[i])
        method = "POST" if kind == 4 or (kind == 3 and chance[i, 0] < 0.4) else "GET"
        status = (
            302
            if method == "POST"
            else 304
            if kind == 5 and chance[i, 1] < 0.5
            else 404
            if chance[i, 1] > 0.985
            else 200
        )
        size = 0 if status in {302, 304} else int(sizes[kind] * np.exp(spread[i]))
        at = _clock(i // 4)
        lines.append(
            f'{address} [{at}] "{method} {_PAGES[kind].format(int(number[i]))} HTTP/1.1" {status} {size} "{agent}"'
        )
    return lines


_COUNTRIES = (
    ("DE", "EUR", "post"),
    ("FR", "EUR", "colis"),
    ("US", "USD", "freight"),
    ("GB", "GBP", "royal"),
    ("JP", "JPY", "sagawa"),
)
_CHANNELS = ("web", "app", "phone")


def orders(rng: Rng, n: int) -> list[Event]:
    """JSON orders: currency and carrier go with the country, the amount with the currency, the weight with the items."""
    country, channel = rng.choice(5, n, p=(0.4, 0.2, 0.2, 0.15, 0.05)), rng.choice(3, n, p=(0.6, 0.35, 0.05))
    items, factor, express = rng.geometric(0.4, n), np.exp(rng.normal(3.2, 0.7, n)), rng.random(n) < 0.1
    events: list[Event] = []
    for i in range(n):
        name, currency, carrier = _COUNTRIES[int(country[i])]
        amount = factor[i] * int(items[i]) * (150 if currency == "JPY" else 1)
        events.append(
            {
                "order": 700_000 + i,
                "channel": _CHANNELS[int(channel[i])],
                "ship": {"country": name, "carrier": carrier, "express": bool(express[i])},
                "currency": currency,
                "amount": round(float(amount), 2),
                "items": int(items[i]),
                "grams": int(items[i]) * 350 + int(factor[i]) * 4,
            }
        )
    return events


def batches(rng: Rng, n: int) -> list[Event]:
    """Sessions: one event is all lines of an import, in their order, with 2 to 12 parts."""
    return _sessions(rng, n, _IMPORT)


def mail(rng: Rng, n: int) -> list[Event]:
    """A mail server's lines: connection, sender, delivery; the relay and the delay go with the domain."""
    domains = (
        ("example.org", "mx1.example.org", 1.2),
        ("firma.test", "relay.firma.test", 0.3),
        ("uni.test", "in.uni.test", 4.0),
    )
    steps, domain, share = (
        rng.choice(4, n, p=(0.35, 0.3, 0.3, 0.05)),
        rng.choice(3, n, p=(0.5, 0.35, 0.15)),
        rng.random((n, 3)),
    )
    lines: list[Event] = []
    for i in range(n):
        name, relay, delay = domains[int(domain[i])]
        host = f"mail{int(share[i, 0] * 2) + 1}"
        queue, user = f"{int(share[i, 1] * 16**8):08X}", f"user{int(share[i, 2] ** 2 * 300)}"
        head = f"{_clock(i // 3)} {host} postfix"
        lines.append(
            (
                f"{head}/smtpd: connect from {relay} port {1024 + int(share[i, 1] * 60_000)}",
                f"{head}/qmgr: {queue}: from=<{user}@{name}>, size={int(900 + 40_000 * share[i, 2] ** 3)}, nrcpt=1 (queue active)",
                f"{head}/smtp: {queue}: to=<{user}@{name}>, relay={relay}, delay={delay * (0.5 + share[i, 1]):.2f}, status=sent",
                f"{head}/anvil: statistics: max connection rate {int(share[i, 1] * 9) + 1}/60s for {relay}",
            )[int(steps[i])]
        )
    return lines


_ROUTES = (
    ("GET", "/v3/users", "users", 12.0),
    ("PUT", "/v3/users", "users", 30.0),
    ("GET", "/v3/prices", "pricing", 4.0),
    ("POST", "/v3/payments", "payments", 120.0),
    ("DELETE", "/v3/sessions", "identity", 9.0),
)


def gateway(rng: Rng, n: int) -> list[Event]:
    """JSON of an API gateway: upstream and latency go with the route, the zone with the upstream; load moves slowly."""
    route, zone, chance = rng.choice(5, n, p=(0.45, 0.1, 0.3, 0.1, 0.05)), rng.integers(2, size=n), rng.random(n)
    noise, load = rng.normal(0, 0.3, n), 0.0
    wobble = rng.normal(0, 0.02, n)
    events: list[Event] = []
    for i in range(n):
        method, path, upstream, ms = _ROUTES[int(route[i])]
        load = 0.995 * load + float(wobble[i])
        status = 503 if chance[i] > 0.998 else 201 if method == "POST" else 204 if method == "DELETE" else 200
        events.append(
            {
                "route": f"{method} {path}",
                "upstream": {"name": upstream, "zone": f"{upstream}-{'ab'[int(zone[i])]}"},
                "status": status,
                "ms": round(float(ms * np.exp(noise[i] + load)), 1),
                "bytes": int(200 + 40 * ms * (1 + chance[i])),
                "tls": "1.3" if chance[i] < 0.9 else "1.2",
            }
        )
    return events


def accounts(rng: Rng, n: int) -> list[Event]:
    """Lines of key=value of a bank's ledger: the desk books only its own kinds, the amount goes with the kind."""
    desks = (
        ("retail", ("deposit", "card", "fee"), 60),
        ("trade", ("settle", "margin"), 9000),
        ("loans", ("interest", "rate"), 700),
    )
    desk, pick, share = rng.choice(3, n, p=(0.7, 0.2, 0.1)), rng.integers(6, size=n), rng.random((n, 2))
    lines: list[Event] = []
    for i in range(n):
        name, kinds, amount = desks[int(desk[i])]
        kind = kinds[int(pick[i]) % len(kinds)]
        lines.append(
            f"ts={_clock(i // 2)} desk={name} kind={kind} account={int(share[i, 0] * 9000) + 1000} "
            f"amount={amount * np.exp(share[i, 1] * 2 - 1):.2f} branch=b{int(share[i, 0] ** 2 * 12)} ok"
        )
    return lines


def jobs(rng: Rng, n: int) -> list[Event]:
    """Sessions: one event is all lines of a build, with retries now and then."""
    return _sessions(rng, n, _BUILD)


_IMPORT = (
    "import {a} opened by loader-{b}",
    "part {c} read, {d} rows",
    "part {c} checked in {b} ms",
    "part {c} written to table t{b}",
    "index rebuilt in {d} ms",
    "import {a} closed",
)
_BUILD = (
    "build {a} queued on agent {b}",
    "step {c} fetch done in {d} ms",
    "step {c} compile done, {d} units",
    "step {c} test done, {d} passed",
    "artifact stored, {d} kB",
    "build {a} finished with code 0",
)


def _sessions(rng: Rng, n: int, forms: tuple[str, ...]) -> list[Event]:
    parts, skip = np.minimum(rng.geometric(0.35, n) + 1, 12), rng.random(n)
    events: list[Event] = []
    for i in range(n):
        name = f"{int(rng.integers(1 << 30)):08x}"
        draws = rng.integers(1, (8, 5000), size=(3 * int(parts[i]) + 3, 2)).tolist()

        def line(form: int, part: int, name: str = name, draws: list[list[int]] = draws) -> str:
            b, d = draws.pop()
            return forms[form].format(a=name, b=b, c=part, d=d)

        lines = [line(0, 0)]
        for part in range(int(parts[i])):
            lines += [line(1, part), line(2, part)]
            if skip[i] < 0.9:
                lines.append(line(3, part))
        lines += [line(4, 0), line(5, 0)] if skip[i] > 0.02 else [line(5, 0)]
        events.append("\n".join(lines))
    return events


def _clock(second: int) -> str:
    return f"{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


def times(rng: Rng, n: int, a_second: float = 2.0) -> list[float]:
    """n times of a Poisson process, in seconds since 1970 with milliseconds."""
    at = START + np.cumsum(rng.exponential(1 / a_second, n))
    return [round(t, 3) for t in at.tolist()]
