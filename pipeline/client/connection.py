"""A connection to the API: one key, retries with growing pauses, errors in one line."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from schemas.errors import DriftlockError

ATTEMPTS = 6
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
TIMEOUT_S = 30.0
LATER = frozenset({429, 502, 503, 504})
"""Answers after which the same request may succeed: none of them did anything."""


class Refused(DriftlockError):
    """The API refused: `status` is HTTP's, `problem` the members of its answer (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"the API says {status}: {problem.get('detail') or problem.get('title') or 'no reason'}")
        self.status, self.problem = status, problem


class Unreachable(DriftlockError):
    """The API does not answer: check the address and that it runs."""


@dataclass(frozen=True)
class Connection:
    """What requests are made with. `wait` sleeps for seconds; `rng` spreads pauses, so that many clients don't come at once."""

    http: httpx.Client = field(repr=False)
    attempts: int = ATTEMPTS
    wait: Callable[[float], None] = time.sleep
    rng: random.Random = field(default_factory=random.SystemRandom, repr=False)


@contextmanager
def connect(url: str, key: str, *, attempts: int = ATTEMPTS, timeout_s: float = TIMEOUT_S) -> Iterator[Connection]:
    """A connection with an API key (or an access token), until the end of the block."""
    headers = {"Authorization": f"Bearer {key}", "User-Agent": "driftlock-client"}
    with httpx.Client(base_url=url, headers=headers, timeout=timeout_s) as http:
        yield Connection(http, attempts)


def request(at: Connection, method: str, path: str, *, repeatable: bool = True, **more: Any) -> httpx.Response:
    """An answer below 400. `Refused` for others, `Unreachable` where none comes.

    Not `repeatable`: a request that may have been done is not made again.
    """
    for attempt in range(at.attempts):
        last = attempt + 1 == at.attempts
        try:
            answer = at.http.request(method, path, **more)
        except httpx.TransportError as error:
            sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            if last or (sent and not repeatable):
                raise Unreachable(f"the API does not answer: {type(error).__name__}") from error
            at.wait(pause(at, attempt))
            continue
        if answer.status_code not in LATER or last:
            return checked(answer)
        at.wait(pause(at, attempt, answer.headers.get("Retry-After", "")))
    raise Unreachable


def pause(at: Connection, attempt: int, retry_after: str = "") -> float:
    """Seconds to wait before the next attempt: what the API asked for, else twice as long each time, spread by a half."""
    if retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after[:6]), LONGEST_PAUSE_S) + at.rng.random()
    return min(FIRST_PAUSE_S * 2.0**attempt, LONGEST_PAUSE_S) * (0.5 + at.rng.random() / 2)


def checked(answer: httpx.Response) -> httpx.Response:
    """The answer itself; `Refused` where its status is 400 or more."""
    if answer.status_code < 400:
        return answer
    try:
        said = answer.json()
    except ValueError:
        said = {}
    raise Refused(answer.status_code, said if isinstance(said, dict) else {})
