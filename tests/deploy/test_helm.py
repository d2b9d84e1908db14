"""The chart: the same processes, secrets and probes as everywhere else; lint, render and Kubernetes' own schemas accept it."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from dashboards.alerts import render
from pipeline.embedded import deployment
from pipeline.packer.sources import GROUP
from pipeline.stack.processes import PROGRAMS
from schemas.settings import SECRETS, Settings
from schemas.topics import BLOCKS, EVENTS, WORKER_APP
from tests.deploy.compose import ROOT
from tests.stack.providers import needed

CHART = ROOT / "deploy" / "helm" / "driftlock"
KUBERNETES = "1.31.0"
EVERYTHING = {
    "ingress.enabled": "true",
    "monitoring.enabled": "true",
    "keda.enabled": "true",
    "autoscaling.enabled": "true",
    "kafkaCaSecret": "kafka-ca",  # pragma: allowlist secret
}
MAY_LACK = {"STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRETS", "SMTP_PASSWORD", "RESEND_API_KEY"}
"""Who has no account there starts all the same."""
CUSTOM = {"ScaledObject", "ServiceMonitor", "PrometheusRule"}


def values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    return found


def test_values_are_our_processes_each_with_its_own_secrets() -> None:
    found = {name: (tuple(one["words"]), set(one["secrets"])) for name, one in values()["processes"].items()}
    assert found == {program.name: (program.words, set(program.secrets)) for program in PROGRAMS}
    assert {name for name, one in values()["processes"].items() if one["scale"] == "lag"} == {"packer", "worker"}
    assert set(values()["settings"]) <= {name.upper() for name in Settings.model_fields} - {s.upper() for s in SECRETS}


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicaz": 1},
        {"existingSecret": ""},
        {"settings": {"DATABASE_URL_API": "postgresql://in-the-open"}},
        {"settings": {"TOPIC_PARTITIONS": 12}},
        {"processes": {"api": {"words": ["api"], "secrets": [], "replicas": -1, "scale": "cpu"}}},
    ],
    ids=str,
)
def test_the_values_schema_accepts_ours_and_refuses_others(wrong: dict[str, Any]) -> None:
    validator = jsonschema_rs.validator_for(json.loads((CHART / "values.schema.json").read_text("utf-8")))
    assert [error.message for error in validator.iter_errors(values())] == []
    assert not validator.is_valid(values() | wrong)


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_can_stand_among_the_settings(name: str) -> None:
    validator = jsonschema_rs.validator_for(json.loads((CHART / "values.schema.json").read_text("utf-8")))
    assert not validator.is_valid(values() | {"settings": {name.upper(): "in the open"}})


def test_lag_is_asked_of_the_groups_and_topics_that_there_are() -> None:
    text = (CHART / "templates" / "scaling.yaml").read_text("utf-8")
    assert f'"packer" (list "{GROUP}" "{EVENTS.name}")' in text
    assert f'"worker" (list "{WORKER_APP}" "{BLOCKS.name}")' in text


def rendered(*words: str) -> list[dict[str, Any]]:
    program = str(needed(deployment.helm))
    command = [program, "template", "driftlock", str(CHART), "--kube-version", KUBERNETES, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def everything() -> list[dict[str, Any]]:
    return rendered(*(word for name, value in EVERYTHING.items() for word in ("--set", f"{name}={value}")))


@pytest.mark.deploy
def test_helm_lints_it_and_refuses_values_that_do_not_fit() -> None:
    program = str(needed(deployment.helm))
    done = subprocess.run([program, "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    bad = [program, "template", "d", str(CHART), "--kube-version", KUBERNETES, "--set", "existingSecret="]
    assert subprocess.run(bad, capture_output=True, check=False).returncode != 0


@pytest.mark.deploy
@pytest.mark.parametrize("full", [False, True])
def test_kubernetes_schemas_accept_what_is_rendered(full: bool, tmp_path: Path) -> None:
    program = str(needed(deployment.kubernetes_validate))
    found = everything() if full else rendered()
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all([one for one in found if one["kind"] not in CUSTOM]), "utf-8")
    version = KUBERNETES.rpartition(".")[0]
    done = subprocess.run([program, "--strict", "-k", version, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    spoiled = tmp_path / "spoiled.yaml"
    text = file.read_text("utf-8")
    assert "livenessProbe" in text
    spoiled.write_text(text.replace("livenessProbe", "livenesProbe"), "utf-8")
    assert subprocess.run(
        [program, "--strict", "-k", version, str(spoiled)], capture_output=True, check=False
    ).returncode


@pytest.mark.deploy
def test_a_process_runs_as_it_does_everywhere() -> None:
    found = everything()
    deployments = {
        one["metadata"]["labels"]["app.kubernetes.io/name"]: one for one in found if one["kind"] == "Deployment"
    }
    assert set(deployments) == {program.name for program in PROGRAMS}
    for program in PROGRAMS:
        (container,) = deployments[program.name]["spec"]["template"]["spec"]["containers"]
        assert container["args"] == ["driftlock", *program.words]
        assert "command" not in container  # it would replace the image's entry
        given = {item["name"] for item in container["env"]}
        assert given <= {name.upper() for name in Settings.model_fields}
        secret = {item["name"] for item in container["env"] if "valueFrom" in item} - {"KAFKA_SASL_PASSWORD"}
        assert secret == set(program.secrets)
        absent = {
            item["name"]
            for item in container["env"]
            if item.get("valueFrom", {}).get("secretKeyRef", {}).get("optional")
        }
        assert absent - {"KAFKA_SASL_PASSWORD"} == set(program.secrets) & MAY_LACK
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        listens = {"api": "PORT", "console": "CONSOLE_PORT"}.get(program.name, "METRICS_PORT")
        port = next(item["value"] for item in container["env"] if item["name"] == listens)
        assert container["ports"] == [{"name": "http", "containerPort": int(port)}]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert deployments[program.name]["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True


@pytest.mark.deploy
def test_jobs_policies_and_rules_fit_together() -> None:
    found = everything()
    kinds: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        kinds.setdefault(one["kind"], []).append(one)
    jobs = {job["metadata"]["labels"]["app.kubernetes.io/name"]: job for job in kinds["Job"]}
    commands = {n: job["spec"]["template"]["spec"]["containers"][0] for n, job in jobs.items()}
    assert commands["migrate"]["args"] == ["driftlock", "db", "migrate"]
    assert commands["topics"]["args"] == ["driftlock", "topics", "apply"]
    databases = {s.upper() for s in SECRETS if s.startswith("database_url")}
    assert {item["name"] for item in commands["migrate"]["env"]} >= databases
    assert not {item["name"] for item in commands["topics"]["env"]} & databases
    (rules,) = kinds["PrometheusRule"]
    assert rules["spec"] == yaml.safe_load(render.rules())
    assert len(kinds["ScaledObject"]) == 2
    assert len(kinds["HorizontalPodAutoscaler"]) == 2
    services = {service["metadata"]["name"]: service["spec"]["ports"][0]["port"] for service in kinds["Service"]}
    environs = {
        one["metadata"]["labels"]["app.kubernetes.io/name"]: {
            item["name"]: item.get("value") for item in one["spec"]["template"]["spec"]["containers"][0]["env"]
        }
        for one in kinds["Deployment"]
    }
    targets = dict(pair.split("=") for pair in environs["api"]["STATUS_TARGETS"].split(","))
    assert targets == {
        program.name: f"http://driftlock-{program.name}:{services['driftlock-' + program.name]}"
        for program in PROGRAMS
        if program.name != "api"
    }
    assert {environ["CONSOLE_URL"] for environ in environs.values()} == {"https://app.example.org"}
    assert not {name for name, environ in environs.items() if "STATUS_TARGETS" in environ} - {"api"}
    (ingress,) = kinds["Ingress"]
    for rule in ingress["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            assert path["backend"]["service"]["name"] in services
    shown = [path["path"] for rule in ingress["spec"]["rules"][:1] for path in rule["http"]["paths"]]
    assert not [path for path in shown if re.match("/(metrics|readyz)?$", path)]
    assert not CUSTOM & {one["kind"] for one in rendered()}
