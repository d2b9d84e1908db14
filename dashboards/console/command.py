"""`driftlock console run`: serve the web console."""

import os
from datetime import UTC, datetime

from pipeline import telemetry
from schemas.settings import load


def run() -> None:
    """Serve the web console on HOST and CONSOLE_PORT until stopped.

    Without DATABASE_URL_API and DATABASE_URL_ACCOUNTS it serves what needs no account: the upload page.
    """
    settings = load(os.environ)
    telemetry.configure(settings, "console")

    import uvicorn

    from dashboards.console.app import build
    from dashboards.console.live import Hub
    from dashboards.console.parts import Parts
    from detectors.detector import warm_up
    from pipeline import kafka
    from pipeline.accounts import announce
    from pipeline.accounts.pools import access_token_key, open_pools
    from pipeline.meter import connect_stripe
    from pipeline.tenants.endpoints import sealing

    warm_up()
    listening = {"host": settings.host, "port": settings.console_port, "log_config": None, "server_header": False}
    urls = (settings.database_url_api.get_secret_value(), settings.database_url_accounts.get_secret_value())
    if not any(urls):
        uvicorn.run(build(None), **listening)  # type: ignore[arg-type]
        return
    key = access_token_key(settings)
    stripe = connect_stripe(settings) if settings.stripe_api_key.get_secret_value() else None
    sealing(settings)  # a key that is too short is told now
    pools = open_pools(settings)
    hub = Hub(urls[0])
    try:
        producer = kafka.producer(settings)
        parts = Parts(
            pools=pools,
            key=key,
            settings=settings,
            announce=lambda organization_id: announce.organization(producer, organization_id),
            clock=lambda: datetime.now(UTC),
            hub=hub,
            stripe=stripe,
        )
        server = uvicorn.Server(uvicorn.Config(build(parts), **listening))  # type: ignore[arg-type]
        hub.until(lambda: server.should_exit)
        server.run()
    finally:
        hub.stop()
        pools.close()
