"""`driftlock stripe verify-assumptions`: what money rests on at Stripe, tried in a sandbox."""

import os
import secrets
import sys
import time

from schemas.settings import load


def verify() -> int:
    """Try each behaviour that billing/README.md lists, against a sandbox key and a test clock, and print a table.

    Takes up to ten minutes for each one that differs. A live key is refused, whatever STRIPE_ALLOW_LIVE says. Exit code 1
    if one differs.
    """
    from billing import assumptions
    from billing import stripe_gateway as gateway

    settings = load(os.environ)
    at = gateway.connect(settings.stripe_api_key.get_secret_value(), base=settings.stripe_api_base, allow_live=False)
    found = assumptions.verify(at, lambda: int(time.time()), time.sleep, secrets.token_hex(6))
    for one in found:
        sys.stdout.write(f"{one.verdict:9}  {one.name:16}  {one.assumed}\n{'':29}{one.seen}\n")
    return 1 if any(one.verdict == "differs" for one in found) else 0
