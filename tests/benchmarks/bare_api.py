"""The peer of `make bench-api`: a FastAPI route that parses the body and says how many events it held; nothing else."""

import sys

import orjson
from fastapi import FastAPI, Request, Response

from pipeline.api.server import server

LOOPBACK = "127.0.0.1"


def build() -> FastAPI:
    """The application, without documents."""
    app = FastAPI(openapi_url=None)
    app.state.serving = None

    @app.post("/v1/events", status_code=202)
    async def post_events(request: Request) -> Response:
        events = orjson.loads(await request.body())
        return Response(orjson.dumps({"accepted": len(events)}), 202, media_type="application/json")

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        return {"status": "ready"}

    return app


if __name__ == "__main__":
    server(build(), LOOPBACK, int(sys.argv[1])).run()
