"""A small shop on http.server, PostgreSQL and Kafka: what is watched in the recording. Release 2.4.1 is the bad deploy.

2.4.1 reads a column that its migration would have added. It was deployed without the migration.
"""

import argparse
import json
import logging
import signal
import sys
import threading
import time
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import psycopg
from confluent_kafka import KafkaError, Producer
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

GOOD, BAD = "2.4.0", "2.4.1"
PRICE = {GOOD: "price", BAD: "price * (1 - discount_rate) AS price"}
TOPIC = "orders"

log = logging.getLogger("shop.http")
orders_log = logging.getLogger("shop.orders")
search_log = logging.getLogger("shop.search")
kafka_log = logging.getLogger("shop.events")


class NotFound(Exception):
    """Nothing is at this path."""


class OutOfStock(Exception):
    """An item can't be sold."""


class Shop:
    """What requests need. Statements carry their values, as a shop's own logs would show them."""

    def __init__(self, database: str, brokers: str, version: str) -> None:
        self.price = PRICE[version]
        self.pool = ConnectionPool(
            database,
            min_size=3,
            max_size=6,
            max_lifetime=90,
            open=True,
            kwargs={"autocommit": True, "row_factory": dict_row, "cursor_factory": psycopg.ClientCursor},
        )
        self.pool.wait()
        settings: dict[str, Any] = {"bootstrap.servers": brokers, "error_cb": self._broker_error, "log_level": 0}
        self.events = Producer({**settings, "client.id": "shop", "reconnect.backoff.max.ms": 1000})

    @staticmethod
    def _broker_error(error: KafkaError) -> None:
        kafka_log.error("order events wait: %s", error.str())

    def home(self) -> Any:
        with self.pool.connection() as db:
            return db.execute(f"SELECT id, name, {self.price} FROM products ORDER BY sold DESC LIMIT 12").fetchall()

    def product(self, number: int) -> Any:
        with self.pool.connection() as db:
            row = db.execute(f"SELECT id, name, {self.price}, stock FROM products WHERE id = %s", (number,)).fetchone()
        if row is None:
            log.warning("product %d is not sold any more", number)
            raise NotFound
        return row

    def search(self, words: str) -> Any:
        began = time.monotonic()
        with self.pool.connection() as db:
            rows = db.execute(
                "SELECT id, name FROM products WHERE name ILIKE %s ORDER BY sold DESC LIMIT 20", (f"%{words}%",)
            ).fetchall()
        search_log.info("'%s': %d results in %d ms", words, len(rows), (time.monotonic() - began) * 1000)
        return rows

    def order(self, number: int) -> Any:
        with self.pool.connection() as db:
            row = db.execute("SELECT id, customer, total, state FROM orders WHERE id = %s", (number,)).fetchone()
        if row is None:
            raise NotFound
        return row

    def place(self, customer: int, items: list[tuple[int, int]]) -> Any:
        with self.pool.connection() as db, db.transaction():
            total = Decimal(0)
            for product, count in sorted(items):
                row: Any = db.execute(
                    f"SELECT {self.price}, stock FROM products WHERE id = %s FOR UPDATE", (product,)
                ).fetchone()
                if row is None or row["stock"] < count:
                    raise OutOfStock(f"product {product}: {count} wanted, {row and row['stock']} there")
                db.execute(
                    "UPDATE products SET stock = stock - %s, sold = sold + %s WHERE id = %s", (count, count, product)
                )
                total += row["price"] * count
            placed: Any = db.execute(
                "INSERT INTO orders (customer, total, state) VALUES (%s, %s, 'placed') RETURNING id", (customer, total)
            ).fetchone()
        orders_log.info("order %d of customer %d placed: %d items, %.2f EUR", placed["id"], customer, len(items), total)
        self.events.produce(TOPIC, json.dumps({"order": placed["id"], "total": str(total)}), str(customer))
        self.events.poll(0)
        return placed

    def deliver_for_ever(self) -> None:
        """The background job: every second what was placed is on its way, and sold products are stocked up again."""
        while True:
            time.sleep(1)
            self.events.poll(0)
            with self.pool.connection() as db:
                sent = db.execute("UPDATE orders SET state = 'sent' WHERE state = 'placed' RETURNING id").rowcount
                stocked = db.execute("UPDATE products SET stock = 80 WHERE stock < 10").rowcount
            if sent:
                orders_log.info("%d orders handed to the carrier", sent)
            if stocked:
                orders_log.info("%d products stocked up", stocked)


class Request(BaseHTTPRequestHandler):
    """One request; its line in the access log has http.server's fields and those of the combined format."""

    protocol_version = "HTTP/1.1"
    server_version = "shop"
    shop: ClassVar[Shop]
    access: ClassVar[Any]
    static: ClassVar[dict[str, bytes]] = {
        "/static/site.css": b"body{margin:0}\n" * 611,
        "/static/cart.js": b"addItem();\n" * 1433,
        "/favicon.ico": b"\0" * 1150,
    }

    def do_GET(self) -> None:
        self._answer(self._read)

    def do_HEAD(self) -> None:
        self._answer(self._read)

    def do_POST(self) -> None:
        self._answer(self._write)

    def _read(self) -> Any:
        url = urlsplit(self.path)
        match [part for part in url.path.split("/") if part]:
            case []:
                return self.shop.home()
            case ["products", number] if number.isdigit():
                return self.shop.product(int(number))
            case ["orders", number] if number.isdigit():
                return self.shop.order(int(number))
            case ["search"]:
                return self.shop.search(parse_qs(url.query).get("q", [""])[0])
            case ["healthz"]:
                return {"status": "ok"}
        if url.path in self.static:
            return self.static[url.path]
        log.warning("no route for %s %s", self.command, url.path[:80])
        raise NotFound

    def _write(self) -> Any:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match self.path:
            case "/cart":
                return {"items": len(json.loads(body)["items"])}
            case "/orders":
                wanted = json.loads(body)
                return self.shop.place(wanted["customer"], [(i["product"], i["count"]) for i in wanted["items"]])
        log.warning("no route for %s %s", self.command, self.path[:80])
        raise NotFound

    def _answer(self, make: Any) -> None:
        status, value, began = 200, None, time.monotonic()
        try:
            value = make()
        except NotFound:
            status, value = 404, {"error": "not found"}
        except OutOfStock as error:
            orders_log.warning("refused: %s", error)
            status, value = 409, {"error": "out of stock"}
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            log.warning("bad request for %s: %s", self.path[:80], error)
            status, value = 400, {"error": "bad request"}
        except Exception:
            log.exception("%s %s failed", self.command, self.path)
            status, value = 500, {"error": "internal"}
        data = value if isinstance(value, bytes) else json.dumps(value, default=str).encode()
        self.sent = len(data)
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        if not self.path.startswith(("/static/", "/favicon")):
            took = (time.monotonic() - began) * 1000
            log.info("%s %s answered %d in %.1f ms", self.command, self.path[:120], status, took)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:  # noqa: ARG002
        agent = self.headers.get("User-Agent", "-") if hasattr(self, "headers") else "-"
        line = f'{self.address_string()} - - [{self.log_date_time_string()}] "{self.requestline}" {int(code)} '
        self.access.write(f'{line}{getattr(self, "sent", 0)} "-" "{agent}"\n')
        self.access.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        log.warning(format, *args)


class Server(ThreadingHTTPServer):
    """Open connections don't hold up the end of the process."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database")
    parser.add_argument("--brokers")
    parser.add_argument("--port", type=int)
    parser.add_argument("--access", type=Path)
    parser.add_argument("--version", choices=[GOOD, BAD])
    given = parser.parse_args()
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        format="%(asctime)s %(levelname)s [%(name)s] %(message)s", level=logging.INFO, stream=sys.stdout
    )
    logging.getLogger("psycopg.pool").setLevel(logging.WARNING)
    log.info("shop %s starts on port %d", given.version, given.port)
    Request.shop = Shop(given.database, given.brokers, given.version)
    Request.access = given.access.open("a")
    server = Server(("127.0.0.1", given.port), Request)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    threading.Thread(target=Request.shop.deliver_for_ever, daemon=True).start()
    log.info("shop %s is ready", given.version)
    server.serve_forever()
    log.info("shop %s ends", given.version)
    Request.shop.events.flush(2)
    Request.shop.pool.close()


if __name__ == "__main__":
    main()
