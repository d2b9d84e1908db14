"""docker-compose.yml: what Compose accepts, and the same processes, settings and probes as everywhere else."""

import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from pipeline.embedded import components, deployment, postgres_programs
from pipeline.stack.processes import KAFKA_SECRETS, PROGRAMS, Program
from schemas.settings import SECRETS, Settings, load
from tests.deploy.compose import FILE, ROOT, new_env, read
from tests.stack.providers import needed

PORTS = {
    "api": 8080,
    "console": 3000,
    "collector": 4318,
    "kafka": 9092,
    "prometheus": 9090,
    "grafana": 3001,
    "jaeger": 16686,
}
OTHERS = {"migrate", "topics", "kafka", "postgres", "collector", "prometheus", "grafana", "jaeger"}
NAMES = {program.name for program in PROGRAMS}


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return new_env(tmp_path_factory.mktemp("compose") / "env")


@pytest.fixture(scope="module")
def compose(variables: dict[str, str]) -> dict[str, Any]:
    return read(variables)


def test_it_fits_the_schema_of_compose_files() -> None:
    schema = yaml.safe_load(needed(deployment.compose_schema).read_text("utf-8"))
    validator = jsonschema_rs.validator_for(schema)
    content = yaml.safe_load(FILE.read_text("utf-8"))
    assert [error.message for error in validator.iter_errors(content)] == []
    content["services"]["api"]["portz"] = []
    assert not validator.is_valid(content)


@pytest.mark.deploy
def test_compose_itself_accepts_it(tmp_path: Path) -> None:
    program = str(needed(deployment.docker_compose))
    env = tmp_path / "env"
    new_env(env)
    command = [program, "--env-file", str(env), "-f", str(FILE), "--profile", "*", "config", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load(done.stdout)
    ours = read(dict(line.split("=", 1) for line in env.read_text("ascii").splitlines() if not line.startswith("#")))
    assert set(found["services"]) == set(ours["services"])
    for name, service in ours["services"].items():  # our own reading of merges and variables is Compose's
        given = {key: str(value) for key, value in service.get("environment", {}).items()}
        assert found["services"][name].get("environment", {}) == given
    backups = [*command[:3], "-f", str(FILE), "-f", str(ROOT / "deploy" / "backup" / "compose.yml"), "config", "-q"]
    assert subprocess.run(backups, check=False, env={"BACKUPS": "/backups"}).returncode == 0
    bare = [program, "--env-file", os.devnull, "-f", str(FILE), "config", "--quiet"]
    refused = subprocess.run(bare, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "run deploy/new-env" in refused.stderr


def test_the_services_are_our_processes_and_what_they_run_on(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == NAMES | OTHERS


def test_ports_are_those_that_are_promised_and_on_loopback(compose: dict[str, Any]) -> None:
    found = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert found == {name: [f"127.0.0.1:{port}:{port}"] for name, port in PORTS.items()}


def test_all_are_on_one_bridge_network(compose: dict[str, Any]) -> None:
    assert compose["networks"] == {"driftlock-network": {"name": "driftlock-network", "driver": "bridge"}}
    assert {tuple(service["networks"]) for service in compose["services"].values()} == {("driftlock-network",)}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_a_process_runs_as_it_does_everywhere(compose: dict[str, Any], program: Program) -> None:
    service = compose["services"][program.name]
    environment = service["environment"]
    assert service["command"] == ["driftlock", *program.words]
    assert set(environment) <= {name.upper() for name in Settings.model_fields}
    known = {name.upper() for name in SECRETS}
    assert set(environment) & known - set(KAFKA_SECRETS) == set(program.secrets)
    load(environment)
    probe = " ".join(service["healthcheck"]["test"])
    port = re.search(r":(\d+)/readyz", probe)
    listens = {"api": "PORT", "console": "CONSOLE_PORT"}.get(program.name, "METRICS_PORT")
    assert port is not None
    assert port[1] == environment[listens]
    assert (service["user"], service["read_only"], service["cap_drop"]) == ("10001:10001", True, ["ALL"])
    assert service["restart"] == "unless-stopped"


def test_schema_and_topics_are_made_before_who_needs_them(compose: dict[str, Any]) -> None:
    once = {"condition": "service_completed_successfully"}
    for program in PROGRAMS:
        after = compose["services"][program.name]["depends_on"]
        if any(secret.startswith("DATABASE_URL") for secret in program.secrets):
            assert after["migrate"] == once
        if program.name in {"packer", "worker", "sink-anomalies", "sink-usage", "api"}:
            assert after["topics"] == once
    migrating = compose["services"]["migrate"]
    assert migrating["command"] == ["driftlock", "db", "migrate"]
    assert {name for name in migrating["environment"] if name.startswith("DATABASE_URL")} == {
        name.upper() for name in SECRETS if name.startswith("database_url")
    }


def test_what_waits_and_what_serves_has_a_health_check(compose: dict[str, Any]) -> None:
    without = {name for name, service in compose["services"].items() if "healthcheck" not in service}
    # Those end by themselves; those have no shell nor program that could ask.
    assert without == {"migrate", "topics"} | {"collector", "jaeger"}


def test_every_file_that_is_mounted_is_there(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                path = ROOT / source
                assert path.exists() or not path.parent.exists(), source  # the collector's comes with its folder
            else:
                assert source in compose["volumes"]


def test_new_secrets_are_for_their_owner_alone_and_never_made_twice(tmp_path: Path) -> None:
    path = tmp_path / "env"
    first = new_env(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secrets = [value for value in first.values() if value]
    assert len(set(secrets)) == len(secrets) == 13
    assert min(map(len, secrets)) >= 32
    again = subprocess.run([ROOT / "deploy" / "new-env", path], capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_versions_are_those_that_tests_run_on(compose: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in compose["services"].items()}
    assert images["kafka"] == f"apache/kafka:{components.KAFKA_VERSION}"
    assert not [image for image in images.values() if image.endswith(":latest") or ":" not in image]
    assert {images[name] for name in NAMES} == {"driftlock:local"}
    built = yaml.safe_load((ROOT / "deploy" / "otel" / "manifest.yaml").read_text("utf-8"))["dist"]["version"]
    assert f"otel/opentelemetry-collector-contrib:{built}" in images.values()
    assert f"postgres:{postgres_programs.MAJOR}" in images.values()
    told = (ROOT / "deploy" / "README.md").read_text("utf-8")
    foreign = set(images.values()) - {"driftlock:local"}
    assert [image for image in foreign if f"| `{image}` |" not in told] == []


def test_the_image_holds_what_runs_and_is_no_root() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")
    assert dockerfile.count("\nFROM ") + dockerfile.startswith("FROM ") == 2
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["10001:10001"]
    copied = re.findall(r"^COPY ([^-].*) \S+$", dockerfile, re.MULTILINE)
    allowed = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    for source in (name for line in copied for name in line.split()):
        assert (ROOT / source).exists()
        assert f"!{source.split('/')[0]}" in allowed


def test_a_container_begins_with_kernels_where_it_may_write(tmp_path: Path) -> None:
    kernels, cache = tmp_path / "kernels", tmp_path / "cache"
    (kernels / "detectors").mkdir(parents=True)
    (kernels / "detectors" / "kernel.nbi").write_bytes(b"code")
    environ = {"PATH": os.environ["PATH"], "DRIFTLOCK_KERNELS": str(kernels), "NUMBA_CACHE_DIR": str(cache)}
    asked = [str(ROOT / "deploy" / "enter"), "sh", "-c", "cat $NUMBA_CACHE_DIR/detectors/*; exit 7"]
    for _ in range(2):  # and a container that is started again
        done = subprocess.run(asked, env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (7, "code")
    other = subprocess.run([ROOT / "deploy" / "enter", "true"], env={"PATH": os.environ["PATH"]}, check=False)
    assert other.returncode == 0
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")
    assert 'ENTRYPOINT ["enter"]' in dockerfile
    for name, place in (("DRIFTLOCK_KERNELS", "/opt/driftlock/numba"), ("NUMBA_CACHE_DIR", "/tmp/numba")):  # noqa: S108 the image's
        assert f"{name}={place}" in dockerfile
