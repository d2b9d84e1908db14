"""`driftlock api run`: serve the HTTP API."""

import os
import subprocess
from pathlib import Path

from pipeline import kafka, telemetry
from pipeline.api.checks import checks, require_database
from schemas.settings import load


def run() -> None:
    """Serve the HTTP API on HOST and PORT until stopped."""
    settings = load(os.environ)
    telemetry.configure(settings, "api")
    kafka.require_broker(settings)
    require_database(settings)

    import uvicorn

    from detectors.detector import DETECTOR_VERSION
    from pipeline.api import stripe_webhook
    from pipeline.api.app import build
    from pipeline.meter import present

    webhook = stripe_webhook.route(stripe_webhook.storing(settings, present))
    app = build(checks(settings), DETECTOR_VERSION, commit(), [webhook])
    uvicorn.run(app, host=settings.host, port=settings.port, log_config=None, server_header=False)


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
