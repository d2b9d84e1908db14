"""Structure, configuration, migrations, documentation."""

import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import yaml

from dashboards.alerts import render as alerts
from pipeline.cli.generate import generated
from pipeline.embedded import deployment
from pipeline.stack.processes import PROGRAMS
from schemas.settings import SECRETS, load
from tests.dashboards.grafana import run
from tests.deploy import compose
from tests.deploy.compose import ROOT
from tests.deploy.test_documents import commands
from tests.verify.ground import Ground, answer, until

RESOLVE = """
import importlib
from pipeline.cli import main
names = [*main._COMMANDS.values(), *(where for group in main._GROUPS.values() for where in group.values())]
for name in names:
    module, _, function = name.partition(":")
    assert callable(getattr(importlib.import_module(module), function)), name
print(len(names))
"""
SPOILED = {"PORT": "nowhere", "SENSITIVITY": "7", "KAFKA_SECURITY_PROTOCOL": "TELNET"}


def says_its_version(ground: Ground) -> str:
    """The wheel, installed into an empty environment, says its version."""
    done = ground.driftlock("--version")
    assert done.stdout.strip() == version("driftlock"), done.stderr
    return done.stdout.strip()


def scans(ground: Ground) -> str:
    """The installed command finds the real faults of a recording, and says so by its exit code."""
    file = ROOT / "tests" / "recording" / "demo" / "events.jsonl.zst"
    fields = ("--event-field", "event", "--stream-field", "stream", "--time-field", "ts")
    done = ground.driftlock("scan", *fields, file)
    assert done.returncode == 1, done.stderr
    return f"{len(done.stdout.splitlines())} lines said"


def has_its_commands(ground: Ground) -> str:
    """Every command's code is in the wheel, with all that it imports."""
    python = str(ground.prefix / "bin" / "python")
    done = subprocess.run([python, "-c", RESOLVE], cwd=ground.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr.strip().splitlines()[-1]
    return f"{done.stdout.strip()} commands"


def has_its_layers(_: Ground) -> str:
    """Imports go one way."""
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return next(line for line in done.stdout.splitlines() if "kept" in line).strip()


def is_fresh(_: Ground) -> str:
    """Generated files are what the code says."""
    files = generated()
    stale = [path for path, content in files.items() if (ROOT / path).read_bytes() != content]
    assert stale == []
    return f"{len(files)} files"


def shuts_every_table(ground: Ground) -> str:
    """Row-level security is forced on every table, and every role of ours is no superuser."""
    rows = ground.sql(
        "SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    )
    assert [name for name, shut in rows if not shut] == []
    assert ground.sql(
        "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'driftlock%' AND (rolsuper OR rolbypassrls)"
    ) == [(0,)]
    return f"{len(rows)} tables"


def has_its_topics(ground: Ground) -> str:
    """Topics are as the list says."""
    done = ground.driftlock("topics", "check", "--create-time", "events", environ=ground.parts.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def is_up(ground: Ground) -> str:
    """Every process of the list is alive and ready."""
    for program in PROGRAMS:
        url = f"http://127.0.0.1:{ground.parts.ports[program.name]}"
        assert answer(f"{url}/healthz").status_code == 200, program.name
        until(lambda url=url: answer(f"{url}/readyz").status_code == 200, f"{program.name} is ready")  # type: ignore[misc]
    return f"{len(PROGRAMS)} processes"


def loads_the_example(_: Ground) -> str:
    """.env.example holds settings that are right, and no secret."""
    lines = [line for line in (ROOT / ".env.example").read_text("utf-8").splitlines() if line and line[0] != "#"]
    given = dict(line.split("=", 1) for line in lines)
    load(given)
    assert not any(given[name.upper()] for name in SECRETS)
    return f"{len(given)} settings"


def says_every_error(ground: Ground) -> str:
    """Wrong settings are all told at once, in one line, with exit code 2."""
    done = ground.driftlock("topics", "check", environ=SPOILED)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert all(name in done.stderr for name in SPOILED), done.stderr
    return done.stderr.strip()[:80]


def reads_a_secret_from_a_file(ground: Ground) -> str:
    """NAME_FILE is read, and the secret is shown nowhere."""
    file = ground.folder / "secret"
    file.write_text("tell-nobody\n", "utf-8")
    settings = load({"ACCESS_TOKEN_KEY_FILE": str(file)})
    assert settings.access_token_key.get_secret_value() == "tell-nobody"
    assert "tell-nobody" not in repr(settings)
    return "read, hidden"


def refuses_a_live_key(ground: Ground) -> str:
    """A live Stripe key is refused unless STRIPE_ALLOW_LIVE."""
    key = "rk_" + "live_" + "x" * 24
    done = ground.driftlock("stripe", "read-back", environ={**ground.parts.environ, "STRIPE_API_KEY": key})
    assert done.returncode == 2
    assert "STRIPE_ALLOW_LIVE" in done.stderr
    assert key not in done.stderr
    return done.stderr.strip()[:80]


def composes(ground: Ground) -> str:
    """docker-compose.yml: the settings of every service are right; commands and secrets are those of the list."""
    services = compose.read(compose.new_env(ground.folder / "env"))["services"]
    for program in PROGRAMS:
        load(services[program.name]["environment"])
        assert services[program.name]["command"] == ["driftlock", *program.words]
    return f"{len(services)} services"


def watches(ground: Ground) -> str:
    """Prometheus starts with the configuration that compose mounts, and holds every rule."""
    data = ground.folder / "prometheus-data"
    with run.prometheus(data, ROOT / "deploy" / "prometheus" / "prometheus.yml") as url:
        groups = answer(f"{url}/api/v1/rules").json()["data"]["groups"]
        jobs = answer(f"{url}/api/v1/status/config").json()["data"]["yaml"]
    names = {rule["name"] for group in groups for rule in group["rules"]}
    assert {alert.name for group in alerts.groups().values() for alert in group} <= names
    assert all(f"job_name: {program.name}" in jobs for program in PROGRAMS)
    return f"{len(names)} rules"


def draws(_: Ground) -> str:
    """Grafana's provisioning names the committed dashboards and the data sources that they ask."""
    folder = ROOT / "dashboards" / "grafana" / "json"
    boards = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    sources = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/driftlock.yml").read_text("utf-8"))
    known = {source["uid"] for source in sources["datasources"]}
    assert {panel["datasource"]["uid"] for board in boards for panel in board["panels"]} == known
    return f"{len(boards)} dashboards, {sum(len(board['panels']) for board in boards)} panels"


def proxies(_: Ground) -> str:
    """Caddy accepts the reverse proxy's configuration."""
    program = str(deployment.caddy() / "caddy")
    with tempfile.TemporaryDirectory() as home:
        words = ["validate", "--adapter", "caddyfile", "--config", str(ROOT / "deploy" / "caddy" / "Caddyfile")]
        environ = {"HOME": home, "CERTIFICATES": "internal"}
        done = subprocess.run([program, *words], capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr[-300:]
    return done.stdout.strip() or "valid"


def migrates(ground: Ground) -> str:
    """From nothing to this release by the command, and nothing more the second time."""
    ground.sql("CREATE DATABASE migrated TEMPLATE template0")
    environ = {"DATABASE_URL": ground.parts.postgres.url(database="migrated")}
    first, second = (ground.driftlock("db", "migrate", environ=environ) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert second.stdout.startswith("nothing to apply")
    return first.stdout.strip()


def documents(ground: Ground) -> str:
    """Every command that the documents of deploy/ name answers --help."""
    named = sorted({" ".join(w for w in words.split(" -")[0].split() if w.islower()) for words in commands()})
    for words in named[:: max(1, len(named) // 8)]:
        done = ground.driftlock(*words.split()[:3], "--help")
        assert done.returncode == 0, f"{words}: {done.stderr}"
    return f"{len(named)} commands named"
