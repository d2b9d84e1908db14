"""The server of a process: open streams end before it waits for requests that are under way."""

import gc
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI

GRACE_S = 5
MAX_HEADER_BYTES = 32 << 10


class Server(uvicorn.Server):
    """uvicorn's, which would wait for streams that never end by themselves."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve. What was made until now lasts as long as the process: the garbage collector need not look at it."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then the requests."""
        app: Any = self.config.app
        if app.state.serving is not None:
            app.state.serving.feed.stop()
        await super().shutdown(sockets)


def server(app: FastAPI, host: str, port: int) -> Server:
    """A server for the application; `run()` serves until SIGTERM or SIGINT."""
    return Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_S,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            http="h11",
        )
    )
