"""`driftlock console run`: serve the web console."""

import os

from pipeline import telemetry
from schemas.settings import load


def run() -> None:
    """Serve the web console on HOST and CONSOLE_PORT until stopped."""
    settings = load(os.environ)
    telemetry.configure(settings, "console")

    import uvicorn

    from dashboards.console.app import build
    from detectors.detector import warm_up

    warm_up()
    uvicorn.run(build(), host=settings.host, port=settings.console_port, log_config=None, server_header=False)
