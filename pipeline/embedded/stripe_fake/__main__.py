"""`python -m pipeline.embedded.stripe_fake --port 0 --port-file F`: serve until SIGTERM; the port is written to F."""

import argparse
import os
import secrets
import signal
import sys
from pathlib import Path

from pipeline.embedded.stripe_fake.sandbox import Sandbox
from pipeline.embedded.stripe_fake.server import FakeServer


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="stripe_fake", description="A fake Stripe on loopback, in memory.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--port-file", type=Path, help="where to write the port once it serves")
    parser.add_argument("--seed", type=int, default=None, help="of ids and faults; default: random")
    given = parser.parse_args()
    box = Sandbox(secrets.randbits(64) if given.seed is None else given.seed)
    try:
        server = FakeServer(box, given.port)
    except OSError as error:
        sys.stderr.write(f"stripe_fake: port {given.port} can't be used: {error.strerror}\n")
        return 2
    if given.port_file:
        # Renamed into place, so that whoever waits for the file never reads half of it.
        part = given.port_file.with_name(f"{given.port_file.name}.{os.getpid()}")
        part.write_text(f"{server.server_address[1]}\n", "ascii")
        part.replace(given.port_file)

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
