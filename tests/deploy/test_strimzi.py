"""What deploy/strimzi holds is what Strimzi's own CRDs take, and nothing in it is a field that they do not know."""

from typing import Any

import jsonschema_rs
import pytest
import yaml

from pipeline.embedded.strimzi import KINDS, strimzi_crds
from schemas import strimzi
from schemas.access import organization_user
from tests.deploy.compose import ROOT
from tests.stack.providers import needed

pytestmark = pytest.mark.deploy
ORGANIZATION = "0190f3c2-0000-7000-8000-000000000001"
FILES = ("kafka.yaml", "topics.yaml", "users.yaml")


def strict(schema: Any) -> Any:
    """The schema with every object closed, as a strict API server takes it; what Kubernetes adds to JSON Schema is left out."""
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items() if not key.startswith("x-kubernetes")}
    if isinstance(schema.get("properties"), dict):
        made["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    return made


@pytest.fixture(scope="module")
def validators() -> dict[str, Any]:
    """Of each kind, for the version that we write."""
    folder = needed(strimzi_crds)
    found = {}
    for kind in KINDS:
        crd = yaml.safe_load((folder / f"{kind}.yaml").read_text("utf-8"))
        group = crd["spec"]["group"]
        for version in crd["spec"]["versions"]:
            if f"{group}/{version['name']}" == strimzi.API and version["served"]:
                schema = version["schema"]["openAPIV3Schema"]
                schema["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"const": kind}}
                schema["properties"]["metadata"] = {"type": "object"}
                schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
                found[kind] = jsonschema_rs.validator_for(strict(schema))
    return found


def wrong(validators: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """What its CRD does not take, a line each."""
    errors = validators[document["kind"]].iter_errors(document)
    return [f"{'.'.join(map(str, error.instance_path))}: {error.message}" for error in errors]


@pytest.mark.parametrize("name", FILES)
def test_every_document_is_taken_by_its_crd(name: str, validators: dict[str, Any]) -> None:
    documents = list(yaml.safe_load_all((ROOT / "deploy" / "strimzi" / name).read_text("utf-8")))
    assert documents
    for document in documents:
        assert document["apiVersion"] == strimzi.API
        assert wrong(validators, document) == []


def test_an_organizations_user_is_taken(validators: dict[str, Any]) -> None:
    assert wrong(validators, strimzi.user("tenant", organization_user(ORGANIZATION))) == []


@pytest.mark.parametrize(
    ("name", "place", "value", "said"),
    [
        ("topics.yaml", ("spec", "partition"), 3, "partition"),
        ("topics.yaml", ("spec", "partitions"), "twelve", "twelve"),
        ("users.yaml", ("spec", "authentication", "type"), "scram", "scram"),
        ("users.yaml", ("spec", "authorization", "acls", 0, "operations"), ["Reads"], "Reads"),
        ("users.yaml", ("spec", "authorization", "acls", 0, "resource", "patterntype"), "x", "patterntype"),
        ("kafka.yaml", ("spec", "storage", "volumes", 0, "id"), "first", "first"),
        ("kafka.yaml", ("spec", "role"), [], "role"),
    ],
)
def test_a_mistake_is_seen(
    name: str, place: tuple[str | int, ...], value: object, said: str, validators: dict[str, Any]
) -> None:
    document = next(iter(yaml.safe_load_all((ROOT / "deploy" / "strimzi" / name).read_text("utf-8"))))
    *path, last = place
    at: Any = document
    for step in path:
        at = at[step]
    at[last] = value
    assert any(said in one for one in wrong(validators, document))
