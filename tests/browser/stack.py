"""The whole product for the tests in a browser: broker, PostgreSQL, and our processes, the console among them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from pipeline.embedded import process
from pipeline.stack import components, processes
from pipeline.stack.components import Components

PROGRAMS = (
    processes.SINK_ANOMALIES,
    processes.SINK_USAGE,
    processes.WORKER,
    processes.PACKER,
    processes.ALERTS,
    processes.API,
    processes.CONSOLE,
)
START_S = 90.0


@dataclass(frozen=True)
class Product:
    """A running product and the console's origin."""

    parts: Components
    origin: str

    def link(self, email: str) -> str:
        """Path and query of the link in the last e-mail to an address, as the outbox holds it until it is sent."""
        with psycopg.connect(self.parts.postgres.url()) as owner:
            kind, token = owner.execute(
                "SELECT kind, payload ->> 'token' FROM outbox WHERE payload ->> 'to' = %s ORDER BY created_at DESC LIMIT 1",
                (email,),
            ).fetchone() or ("", "")
        return {"account.verify": "/verify", "account.reset": "/reset", "account.invited": "/invitation"}[
            kind
        ] + f"?token={token}"


@contextmanager
def running(folder: Path) -> Iterator[Product]:
    """The product on free ports."""
    parts = components.start(folder, "kafka", lambda _: None)
    with ExitStack() as ends:
        ends.callback(components.stop, parts)
        children = {}
        for program in PROGRAMS:
            children[program.name] = processes.start(program, parts.environ_of(program), parts.logs)
            ends.callback(process.stop, children[program.name], grace_s=5.0)
        for name, child in children.items():
            process.wait_ready(child, lambda n=name: _ready(parts, n), timeout_s=START_S)  # type: ignore[misc]
        yield Product(parts, parts.environ["CONSOLE_URL"])


def _ready(parts: Components, name: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{parts.ports[name]}/readyz", timeout=3.0).status_code == 200
    except httpx.TransportError:
        return False
