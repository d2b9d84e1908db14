"""The quiet load: pgbench's transaction, a reporting role, customers of the shop, batch jobs on Kafka, probes."""

import http.client
import json
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

import psycopg
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from psycopg import ClientCursor

from tests.recording.shop import TOPIC

REPORT = (
    "SELECT page, count(*) AS visits, avg(ms) AS ms FROM visits WHERE id BETWEEN %s AND %s"
    " GROUP BY page ORDER BY md5(page)"
)
SORT = "SELECT customer, page, ms FROM visits WHERE id BETWEEN %s AND %s ORDER BY ms, page"
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "shop-android/5.12",
)
_WORDS = ("lamp", "chair", "oak", "desk", "vase", "clock", "steel shelf", "red rug", "mirror", "paper")

Ended = threading.Event
Client = dict[str, str | int | float | bool]
Worker = Callable[[random.Random, Ended], None]


def start(workers: Sequence[Worker], seed: int, ended: Ended) -> list[threading.Thread]:
    """A thread for each worker, until `ended`."""
    threads = [
        threading.Thread(target=worker, args=(random.Random(seed * 1000 + number), ended), daemon=True)
        for number, worker in enumerate(workers)
    ]
    for thread in threads:
        thread.start()
    return threads


def bench(url: str, a_second: float) -> Worker:
    """pgbench's TPC-B-like transaction, `a_second` times a second; a new session now and then."""

    def work(rng: random.Random, ended: Ended) -> None:
        while not ended.is_set():
            with suppress(psycopg.Error), psycopg.connect(url, cursor_factory=ClientCursor) as db:
                for _ in range(rng.randint(60, 120)):
                    _transaction(db, rng)
                    if ended.wait(rng.expovariate(a_second)):
                        return

    return work


def _transaction(db: "psycopg.Connection[tuple[object, ...]]", rng: random.Random) -> None:
    account, teller, branch, delta = (
        rng.randint(1, 40000),
        rng.randint(1, 80),
        rng.randint(1, 8),
        rng.randint(-5000, 5000),
    )
    with db.transaction():
        db.execute("UPDATE accounts SET balance = balance + %s WHERE aid = %s", (delta, account))
        db.execute("SELECT balance FROM accounts WHERE aid = %s", (account,))
        db.execute("UPDATE tellers SET balance = balance + %s WHERE tid = %s", (delta, teller))
        db.execute("UPDATE branches SET balance = balance + %s WHERE bid = %s", (delta, branch))
        db.execute(
            "INSERT INTO history (tid, bid, aid, delta, at) VALUES (%s, %s, %s, %s, now())",
            (teller, branch, account, delta),
        )


def reports(url: str) -> Worker:
    """The reporting role: a session every few seconds with a query or two; a sort may need a small temporary file."""

    def work(rng: random.Random, ended: Ended) -> None:
        while not ended.wait(rng.uniform(1, 4)):
            with suppress(psycopg.Error), psycopg.connect(url, cursor_factory=ClientCursor) as db:
                first = rng.randint(1, 190_000)
                db.execute(REPORT, (first, first + rng.randint(500, 5000)))
                if rng.random() < 0.5:
                    db.execute(SORT, (first, first + rng.randint(1000, 4000)))

    return work


def customer(port: int) -> Worker:
    """Customers one after another, each from an address of its own, who look, search and sometimes buy."""

    def work(rng: random.Random, ended: Ended) -> None:
        while not ended.is_set():
            address = f"127.{rng.randint(20, 90)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=(address, 0))
            agent = {"User-Agent": rng.choice(_AGENTS)}
            with suppress(OSError, http.client.HTTPException):
                for method, path, body in _visit(rng):
                    client.request(method, path, body, agent)
                    client.getresponse().read()
                    if ended.wait(rng.expovariate(4.5)):
                        break
            client.close()
            ended.wait(rng.uniform(0.05, 0.3))

    return work


def _visit(rng: random.Random) -> list[tuple[str, str, str | None]]:
    said: list[tuple[str, str, str | None]] = [("GET", "/", None)]
    if rng.random() < 0.5:
        said += [("GET", path, None) for path in ("/static/site.css", "/static/cart.js", "/favicon.ico")]
    items = []
    for _ in range(rng.randint(1, 5)):
        if rng.random() < 0.5:
            said.append(("GET", f"/search?q={rng.choice(_WORDS).replace(' ', '+')}", None))
        product = rng.randint(1, 246)  # the last six are not sold any more
        said.append(("GET", f"/products/{product}", None))
        if product <= 240 and rng.random() < 0.5:
            items.append({"product": product, "count": rng.choice((1, 1, 1, 2, 3))})
            said.append(("POST", "/cart", json.dumps({"items": items})))
    if items and rng.random() < 0.8:
        body = json.dumps({"customer": rng.randint(1, 5000), "items": items})
        said.append(("POST", "/orders", body if rng.random() > 0.03 else body[:-9]))
    if rng.random() < 0.2:
        said.append(("GET", f"/orders/{rng.randint(1, 900)}", None))
    return said


def batch_jobs(brokers: str) -> Worker:
    """Short jobs on Kafka: mostly a group that reads the orders and leaves, sometimes a topic for a job alone."""

    def work(rng: random.Random, ended: Ended) -> None:
        quiet: Client = {"bootstrap.servers": brokers, "log_level": 0}
        admin = AdminClient(quiet)
        while not ended.wait(rng.uniform(0.3, 1.4)):
            with suppress(KafkaException):
                if rng.random() < 0.8:
                    _read_orders(
                        quiet, f"{rng.choice(('invoices', 'stock', 'mailing', 'forecast'))}-{rng.randint(1, 40)}"
                    )
                else:
                    _one_job(admin, quiet, f"job-{rng.randint(10_000, 99_999)}", rng)

    return work


def _read_orders(client: Client, group: str) -> None:
    reader = Consumer({**client, "group.id": group, "client.id": group, "auto.offset.reset": "latest"})
    reader.subscribe([TOPIC])
    for _ in range(10):
        reader.poll(0.1)
    reader.close()


def _one_job(admin: AdminClient, client: Client, name: str, rng: random.Random) -> None:
    _all(admin.create_topics([NewTopic(name, 1, 1)]))
    producer = Producer({**client, "client.id": name})
    for _ in range(rng.randint(5, 50)):
        producer.produce(name, b"row " * rng.randint(1, 40))
    producer.flush(10)
    _all(admin.delete_topics([name]))


def _all(futures: "dict[str, Future[None]]") -> None:
    for future in futures.values():
        future.result(20)


def probes(ports: Sequence[int], paths: Sequence[str]) -> Worker:
    """What an orchestrator does: ask each process every five seconds whether it is well."""

    def work(rng: random.Random, ended: Ended) -> None:
        while not ended.wait(5.0):
            for port, path in zip(ports, paths, strict=True):
                client = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
                with suppress(OSError, http.client.HTTPException):
                    client.request("GET", path, headers={"User-Agent": "kube-probe/1.31"})
                    client.getresponse().read()
                client.close()

    return work
