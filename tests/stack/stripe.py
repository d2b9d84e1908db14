"""The fixture `fake_stripe`: the stateful fake over real HTTP, in this process, with a clock that stands still."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from billing import stripe_gateway
from pipeline.embedded.stripe_fake.sandbox import Sandbox
from pipeline.embedded.stripe_fake.server import running

KEY = "rk_test_notasecret"


@dataclass(frozen=True)
class FakeStripe:
    """A running fake: its address, and its state for what HTTP does not tell."""

    url: str
    box: Sandbox
    http: httpx.Client

    def connect(self, **options: Any) -> stripe_gateway.Connection:
        """A connection of our gateway to it."""
        return stripe_gateway.connect(KEY, base=self.url, **options)

    def say(self, path: str, content: dict[str, Any]) -> Any:
        """A control request; its answer."""
        answer = self.http.post(f"/_fake/{path}", json=content)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def move(self, to: datetime) -> None:
        """Move its clock."""
        self.say("clock", {"to": int(to.timestamp())})

    def fail(self, kind: str, **rule: Any) -> None:
        """Replace its faults by one, which by default strikes every request."""
        self.say("faults", {"rules": [{"kind": kind, **rule}]})

    def heal(self) -> None:
        """No faults any more."""
        self.say("faults", {"rules": []})

    def form(self, method: str, path: str, data: str = "", **headers: str) -> httpx.Response:
        """A request to the API as anyone could send it."""
        given = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/x-www-form-urlencoded", **headers}
        return self.http.request(method, path, content=data, headers=given)

    def now(self) -> datetime:
        """Its present."""
        return datetime.fromtimestamp(self.box.clock.now(), UTC)


@pytest.fixture
def fake_stripe() -> Iterator[FakeStripe]:
    """A fake Stripe at 2026-11-23T14:00:00Z."""
    box = Sandbox(seed=1)
    box.clock.frozen = int(datetime(2026, 11, 23, 14, tzinfo=UTC).timestamp())
    with running(box) as server, httpx.Client(base_url=server.url, verify=False, timeout=30) as http:  # noqa: S501 - no TLS
        yield FakeStripe(server.url, box, http)
