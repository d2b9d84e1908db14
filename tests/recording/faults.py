"""The seven faults. Each is really done to real components, takes 10 to 25 seconds, and is undone when it returns."""

import http.client
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from psycopg import ClientCursor
from psycopg.conninfo import make_conninfo

from pipeline.embedded.kafka import Kafka
from tests.recording import shop
from tests.recording.database import Urls
from tests.recording.load import REPORT, SORT


@dataclass(frozen=True)
class World:
    """What faults are done to. `deploy` replaces the shop's process by one of another release."""

    broker: Kafka
    urls: Urls
    shop_port: int
    deploy: Callable[[str], None]


Fault = Callable[[World, random.Random], None]


def broker_killed(world: World, rng: random.Random) -> None:
    """Kill -9 the broker, and start it again some seconds later."""
    world.broker.kill()
    time.sleep(rng.uniform(3, 6))
    world.broker.start()
    time.sleep(5)  # its groups and clients come back


def wrong_passwords(world: World, rng: random.Random) -> None:
    """Someone tries passwords: a log-in every tenth of a second or so, each refused by PostgreSQL."""
    until = time.monotonic() + rng.uniform(10, 18)
    names = ("postgres", "admin", "shop", "backup", "deploy", "oracle", "test")
    while time.monotonic() < until:
        name = rng.choice(names)
        with suppress(psycopg.OperationalError):
            psycopg.connect(make_conninfo(world.urls.shop, user=name, password=f"guess{rng.random()}")).close()
        time.sleep(rng.uniform(0.05, 0.15))


def lock_pileup(world: World, rng: random.Random) -> None:
    """A transaction that nobody ends holds a branch's row; pgbench's and ten more sessions wait for it."""
    held = rng.uniform(10, 16)
    row = "UPDATE branches SET balance = balance + %s WHERE bid = %s"
    with psycopg.connect(world.urls.bench, cursor_factory=ClientCursor) as holder:
        holder.execute("UPDATE branches SET balance = balance")
        until = time.monotonic() + held

        def wait(seed: int) -> None:
            mine = random.Random(seed)
            while time.monotonic() < until:
                with suppress(psycopg.Error), psycopg.connect(world.urls.bench, cursor_factory=ClientCursor) as db:
                    db.execute("SET lock_timeout = '2500ms'")
                    db.execute(row, (mine.randint(-5000, 5000), mine.randint(1, 8)))

        _together(wait, 10, rng)


def temp_file_limit(world: World, rng: random.Random) -> None:
    """A report over everything sorts more than the reporting role may write to temporary files, and is tried again."""
    until = time.monotonic() + rng.uniform(10, 18)

    def work(seed: int) -> None:
        mine = random.Random(seed)
        while time.monotonic() < until:
            with suppress(psycopg.Error), psycopg.connect(world.urls.report, cursor_factory=ClientCursor) as db:
                db.execute(SORT, (1, 200_000 - mine.randint(0, 999)))
            time.sleep(mine.uniform(0.2, 0.6))

    _together(work, 3, rng)


def slow_queries(world: World, rng: random.Random) -> None:
    """Eight people ask for the report of everything at once, again and again; some of it waits for a slow function."""
    until = time.monotonic() + rng.uniform(12, 18)

    def work(seed: int) -> None:
        mine = random.Random(seed)
        with suppress(psycopg.Error), psycopg.connect(world.urls.report, cursor_factory=ClientCursor) as db:
            while time.monotonic() < until:
                first = mine.randint(1, 20_000)
                db.execute(REPORT, (first, 200_000 - mine.randint(0, 999)))
                db.execute("SELECT pg_sleep(%s)", (round(mine.uniform(0.5, 2.0), 2),))
                db.commit()

    _together(work, 8, rng)


def bad_deploy(world: World, rng: random.Random) -> None:
    """The shop's next release reads a column that is not there; then the release before it comes back."""
    world.deploy(shop.BAD)
    time.sleep(rng.uniform(12, 20))
    world.deploy(shop.GOOD)


_ODD = (
    "/.env", "/.git/config", "/wp-login.php", "/wp-admin/setup-config.php", "/xmlrpc.php", "/phpmyadmin/index.php",
    "/admin/config.php", "/cgi-bin/test.cgi", "/actuator/env", "/server-status", "/backup.sql", "/config.json.bak",
    "/api/v1/users?id=1%20OR%201=1", "/search?q=%27%20UNION%20SELECT%201--", "/..%2f..%2fetc/passwd", "/solr/admin/info",
    "/boaform/admin/formLogin", "/.aws/credentials", "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php", "/owa/auth.owa",
)  # fmt: skip


def scanner(world: World, rng: random.Random) -> None:
    """One address asks for everything that others leave open."""
    until = time.monotonic() + rng.uniform(10, 18)
    address = f"127.{rng.randint(100, 200)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
    client = http.client.HTTPConnection("127.0.0.1", world.shop_port, timeout=20, source_address=(address, 0))
    agent = {"User-Agent": "Mozilla/5.0 zgrab/0.x"}
    while time.monotonic() < until:
        client.request(rng.choice(("GET", "GET", "GET", "HEAD", "POST")), rng.choice(_ODD), headers=agent)
        client.getresponse().read()
        time.sleep(rng.uniform(0.03, 0.12))
    client.close()


FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    "broker_killed": (broker_killed, ("kafka", "shop", "packer", "worker", "sink-anomalies", "sink-usage", "api")),
    "wrong_passwords": (wrong_passwords, ("postgres",)),
    "lock_pileup": (lock_pileup, ("postgres",)),
    "temp_file_limit": (temp_file_limit, ("postgres",)),
    "slow_queries": (slow_queries, ("postgres",)),
    "bad_deploy": (bad_deploy, ("shop", "access", "postgres")),
    "scanner": (scanner, ("access", "shop")),
}
"""Name → the fault, and every stream that it really touches."""


def _together(work: Callable[[int], None], count: int, rng: random.Random) -> None:
    """Do a work `count` times at once, each with a seed of its own."""
    threads = [threading.Thread(target=work, args=(rng.randrange(1 << 30),)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
