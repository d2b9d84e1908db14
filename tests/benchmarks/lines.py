"""The lines that every figure is measured on: JSON log events of about 200 bytes, the same for the same seed.

Twelve templates of services' logs with changing numbers, spread unevenly over the streams; once in about 50,000 lines a
burst, 40 lines one after another of an error that is not seen otherwise, all of one stream.
"""

import random
from collections.abc import Callable, Iterator

import orjson

SEED = 20260302
BURST_EVERY = 50_000
BURST_LINES = 40

Draw = Callable[[int], int]
"""draw(n): a whole number from 0 to n - 1."""

_TEMPLATES: tuple[tuple[str, str, Callable[[Draw], str]], ...] = (
    ("info", "http", lambda d: f"GET /api/v2/orders/{d(1 << 20)} 200 in {d(180)} ms, {d(9000)} bytes to 10.{d(4)}.{d(200)}.7"),
    ("info", "http", lambda d: f"POST /api/v2/carts/{d(1 << 20)}/items 201 in {d(240)} ms, {d(900)} bytes to 10.{d(4)}.{d(200)}.9"),
    ("info", "http", lambda d: f"GET /static/js/app.{d(8)}.bundle.js 304 in {d(9)} ms, 0 bytes to 10.{d(4)}.{d(200)}.3"),
    ("info", "cache", lambda d: f"evicted {d(300)} of {d(90000)} entries of region catalog in {d(40)} ms, hit rate {d(30) + 70} percent"),
    ("info", "db", lambda d: f"query orders_by_customer returned {d(120)} rows in {d(60)} ms on connection {d(32)} of pool main"),
    ("debug", "db", lambda d: f"transaction {d(1 << 24)} committed after {d(25)} ms with {d(12)} statements on connection {d(32)}"),
    ("info", "queue", lambda d: f"consumed batch {d(1 << 22)} of topic payments with {d(500)} messages, lag now {d(2000)}, took {d(90)} ms"),
    ("info", "auth", lambda d: f"token of user {d(50000)} refreshed for client web after {d(3600)} s, expires in 3600 s, scope basic"),
    ("info", "scheduler", lambda d: f"job reindex-catalog slice {d(64)} of 64 finished in {d(4000)} ms, next run in {d(600)} s on node {d(6)}"),
    ("warn", "http", lambda d: f"GET /api/v2/search 429 in {d(5)} ms: client 10.{d(4)}.{d(200)}.5 over its limit of 50 requests a second"),
    ("warn", "db", lambda d: f"slow query orders_by_customer took {d(900) + 200} ms, {d(50000)} rows read, plan index scan, pool main"),
    ("info", "health", lambda d: f"check passed in {d(12)} ms: database ok, queue ok, disk {d(20) + 40} percent full, heap {d(500) + 200} MB of 1024"),
)  # fmt: skip
_WEIGHTS = (30, 12, 14, 3, 14, 10, 6, 4, 1, 1, 1, 4)


def lines(count: int, streams: int, seed: int = SEED) -> Iterator[tuple[str, bytes]]:
    """(stream, line) of `count` lines over `streams` streams."""
    rng = random.Random(seed)
    names = [f"shop/{i:05d}" for i in range(streams)]
    templates = [t for t, weight in zip(_TEMPLATES, _WEIGHTS, strict=True) for _ in range(weight)]
    many, left, hurt = len(templates), 0, names[0]

    def draw(n: int) -> int:
        return int(rng.random() * n)

    for i in range(count):
        if i % BURST_EVERY == BURST_EVERY // 2:
            left, hurt = BURST_LINES, names[draw(streams)]
        if left:
            left -= 1
            stream, level, logger = hurt, "error", "payments"
            message = (
                f"charge {draw(1 << 24)} failed after {draw(30000)} ms: gateway refused the connection, attempt {left}"
            )
        else:
            stream = names[draw(streams)]
            level, logger, make = templates[draw(many)]
            message = make(draw)
        event = {
            "ts": f"2026-03-02T{i // 360_000 % 24:02d}:{i // 6000 % 60:02d}:{i // 100 % 60:02d}.{i % 100:02d}0Z",
            "stream": stream,
            "level": level,
            "logger": f"shop.{logger}",
            "host": f"node-{draw(6)}.internal",
            "message": message,
        }
        yield stream, orjson.dumps(event)
