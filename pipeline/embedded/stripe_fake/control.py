"""What a test or the demo says to the fake, as JSON under /_fake/; never part of Stripe's API.

| request | what it does |
|---|---|
| GET /_fake/health | `{"now", "objects", "events", "late"}` |
| POST /_fake/clock | `{"to": s}` or `{"by": s}`, and `{"frozen": true}`: moves, stops or starts the clock |
| POST /_fake/faults | `{"rules": [...]}` (faults.py), `{"seed": n}`: replaces the rules |
| POST /_fake/usage | `{"newest_by": "arrival" or "timestamp", "lag": s, "rejects_later": true}`: how windows, summaries and bad events behave |
| GET /_fake/usage | what summaries will show in the end: `[{"meter", "customer", "hour", "units"}]` |
| GET /_fake/requests | the last requests to the API, oldest first; DELETE forgets them |
| POST /_fake/webhooks | `{"url", "secret", "hold"}`: where events go; `hold` keeps them |
| GET /_fake/webhooks | ids of the events that wait |
| POST /_fake/webhooks/deliver | `{"ids": [...]}` in that order, as often as named; without ids all that wait |
| POST /_fake/checkout/complete | `{"id": "cs_..."}`: the customer has paid |
| POST /_fake/card | `{"customer": "cus_...", "declined": true}`: what the next attempts to collect meet |
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from pipeline.embedded.stripe_fake import checkout, events, faults, rejections
from pipeline.embedded.stripe_fake.api import tick
from pipeline.embedded.stripe_fake.sandbox import Sandbox, Webhooks

Said = Mapping[str, Any]


def _health(box: Sandbox, _: Said) -> Any:
    counts = {kind: len(kept) for kind, kept in box.objects.items()}
    return {"now": box.clock.now(), "objects": counts, "events": box.usage.count, "late": len(box.usage.late)}


def _clock(box: Sandbox, said: Said) -> Any:
    known(said, "to", "by", "frozen")
    if "frozen" in said:
        box.clock.freeze(bool(said["frozen"]))
    target = int(said.get("to", box.clock.now() + int(said.get("by", 0))))
    box.move(target)
    box.clock.move_to(target)
    tick(box)
    return {"now": box.clock.now()}


def _faults(box: Sandbox, said: Said) -> Any:
    known(said, "rules", "seed")
    box.rules[:] = [faults.rule(one) for one in said.get("rules", [])]
    if "seed" in said:
        box.rng.seed(said["seed"])
    return {"rules": len(box.rules)}


def _set_usage(box: Sandbox, said: Said) -> Any:
    known(said, "newest_by", "lag", "rejects_later")
    if said.get("newest_by", "arrival") not in ("arrival", "timestamp"):
        raise ValueError("newest_by is arrival or timestamp")
    box.usage.newest_by = said.get("newest_by", box.usage.newest_by)
    box.usage.lag = int(said.get("lag", box.usage.lag))
    box.rejects_later = bool(said.get("rejects_later", box.rejects_later))
    return {"newest_by": box.usage.newest_by, "lag": box.usage.lag, "rejects_later": box.rejects_later}


def _usage(box: Sandbox, _: Said) -> Any:
    tick(box)
    now = box.clock.now() + box.usage.lag
    found = []
    for meter, customer in sorted(box.usage.windows):
        overwrite = box.get("billing.meter", meter)["event_time_window"] is not None
        shown = box.usage.peek(meter, customer, now, overwrite=overwrite)
        found += [{"meter": meter, "customer": customer, "hour": at, "units": units} for at, units in shown.items()]
    return found


def _requests(box: Sandbox, _: Said) -> Any:
    return list(box.log)


def _forget(box: Sandbox, _: Said) -> Any:
    box.log.clear()
    return {}


def _webhooks(box: Sandbox, said: Said) -> Any:
    known(said, "url", "secret", "hold")
    url = str(said.get("url", ""))
    if url and urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError("url must be on this machine")
    box.webhooks = Webhooks(url, str(said.get("secret", "")), bool(said.get("hold", False)))
    return {"url": url}


def _waiting(box: Sandbox, _: Said) -> Any:
    return [{"id": e["id"], "type": e["type"]} for e in box.undelivered]


def _complete(box: Sandbox, said: Said) -> Any:
    known(said, "id")
    return checkout.complete(box, str(said["id"]))


def _card(box: Sandbox, said: Said) -> Any:
    known(said, "customer", "declined")
    customer = box.get("customer", str(said["customer"]))
    customer["metadata"] = {**customer["metadata"], "fake_card": "declined" if said["declined"] else "good"}
    return customer


Control = Callable[[Sandbox, Said], Any]
CONTROLS: dict[tuple[str, str], Control] = {
    ("GET", "/_fake/health"): _health,
    ("POST", "/_fake/clock"): _clock,
    ("POST", "/_fake/faults"): _faults,
    ("POST", "/_fake/usage"): _set_usage,
    ("GET", "/_fake/usage"): _usage,
    ("GET", "/_fake/requests"): _requests,
    ("DELETE", "/_fake/requests"): _forget,
    ("POST", "/_fake/webhooks"): _webhooks,
    ("GET", "/_fake/webhooks"): _waiting,
    ("POST", "/_fake/checkout/complete"): _complete,
    ("POST", "/_fake/card"): _card,
}


def known(said: Said, *names: str) -> None:
    """Refuse what a control request does not have, so that a misspelt fault is no silent success."""
    if strange := set(said) - set(names):
        raise ValueError(f"unknown: {', '.join(sorted(strange))}")


def due(box: Sandbox, said: Said | None = None) -> list[tuple[str, str, dict[str, Any], int, int]]:
    """Take the events to deliver: those named, or all that wait; the arguments of `events.deliver` for each."""
    if not box.webhooks.url:
        return []
    if said is not None and "ids" in said:
        by_id = {e["id"]: e for e in [*box.events, *map(rejections.thin, box.thin.values())]}
        if unknown := set(said["ids"]) - set(by_id):
            raise ValueError(f"no such event: {', '.join(sorted(unknown))}")
        chosen = [by_id[i] for i in said["ids"]]
        kept = [e for e in box.undelivered if e["id"] not in set(said["ids"])]
    else:
        chosen, kept = list(box.undelivered), []
    box.undelivered.clear()
    box.undelivered.extend(kept)
    hook = box.webhooks
    return [(hook.url, hook.secret, event, box.clock.now(), hook.tries) for event in chosen]


def deliver_all(jobs: list[tuple[str, str, dict[str, Any], int, int]]) -> list[dict[str, Any]]:
    """Post events one after the other, outside the lock; which were answered with 2xx."""
    return [{"id": job[2]["id"], "delivered": events.deliver(*job)} for job in jobs]
