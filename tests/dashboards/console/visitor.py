"""A visitor of the console without a browser: one cookie jar, synchronous calls on the application itself."""

import asyncio
import re
from typing import Any

import httpx
from fastapi import FastAPI


class Visitor:
    """Asks the application, which thinks that it is reached over https; follows no redirect."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.cookies = httpx.Cookies()

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request; cookies that the answer sets are kept."""

        async def sent() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url="https://console.test", cookies=self.cookies
            ) as client:
                answer = await client.request(method, path, **more)
                self.cookies = client.cookies
                return answer

        return asyncio.run(sent())

    def get(self, path: str) -> httpx.Response:
        """A page."""
        return self.ask("GET", path)

    def post(self, path: str, **more: Any) -> httpx.Response:
        """A form."""
        return self.ask("POST", path, **more)

    def token(self, path: str = "/scan") -> str:
        """The token of a page's first form."""
        found = re.search(r'name="token" value="([0-9a-f]{64})"', self.get(path).text)
        assert found is not None
        return found[1]
