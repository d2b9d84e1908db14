"""`driftlock api run`: serve the HTTP API."""

import os
import re
import subprocess
from pathlib import Path

from pipeline import kafka, telemetry
from pipeline.api.checks import checks, require_database
from schemas.errors import SettingsError
from schemas.settings import Settings, load


def run() -> None:
    """Serve the HTTP API on HOST and PORT until stopped."""
    settings = load(os.environ)
    telemetry.configure(settings, "api")
    kafka.require_broker(settings)
    require_database(settings)

    from detectors.detector import DETECTOR_VERSION
    from pipeline.accounts.pools import access_token_key, open_pools
    from pipeline.api import stripe_webhook
    from pipeline.api.app import build
    from pipeline.api.intake import Intake, new_producer
    from pipeline.api.live import Feed
    from pipeline.api.server import server
    from pipeline.api.serving import Serving
    from pipeline.api.status import Gatherer, Target, targets
    from pipeline.meter import connect_stripe, present
    from pipeline.tenants.endpoints import sealing

    key, allowed = access_token_key(settings), origins(settings)
    itself = Target("api", f"http://{_own_address(settings.host)}:{settings.port}")
    gatherer = Gatherer((itself, *targets(settings.status_targets)))
    stripe = connect_stripe(settings) if settings.stripe_api_key.get_secret_value() else None
    serving = Serving(
        open_pools(settings),
        key,
        Intake(new_producer(settings)),
        Feed(settings.database_url_api.get_secret_value()),
        settings.credit_limit_percent,
        sealing=sealing(settings),
        stripe=stripe,
        console_url=settings.console_url.rstrip("/"),
    )
    webhook = stripe_webhook.route(stripe_webhook.storing(settings, present))
    app = build(checks(settings), DETECTOR_VERSION, commit(), serving, allowed, [webhook], gatherer)
    server(app, settings.host, settings.port).run()


def _own_address(host: str) -> str:
    """Where this process reaches itself: loopback where it listens on every address."""
    known = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 compared, not bound
    return known.get(host, f"[{host}]" if ":" in host else host)


def origins(settings: Settings) -> tuple[str, ...]:
    """The origins of CORS_ORIGINS; `SettingsError` for * and for what is no origin."""
    found = tuple(one.strip() for one in settings.cors_origins.split(",") if one.strip())
    for one in found:
        if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?", one):
            raise SettingsError(
                f"CORS_ORIGINS: {one!r} is no origin such as https://console.example.org (* is never one)"
            )
    return found


def commit() -> str:
    """The git commit of this checkout: DRIFTLOCK_COMMIT in an image, else as git says, else "unknown"."""
    if given := os.environ.get("DRIFTLOCK_COMMIT"):
        return given
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=5,
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
