"""Requests that schemathesis makes from our OpenAPI document: no 5xx, and every answer is as the document says."""

from typing import Any, cast

import hypothesis
import psycopg
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.accounts_world import PASSWORD
from tests.integration.api_world import World

EMAIL = "document@example.org"
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ENDLESS = "/v1/anomalies/stream"
EACH = 5


def operations(world: World) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{world.client.base_url}/openapi.json")
    return [cast("Any", result).ok() for result in schema.get_all_operations()]


def login(world: World) -> dict[str, str]:
    world.user(EMAIL)
    with psycopg.connect(world.database.url()) as root:
        root.execute("UPDATE login_failures SET failures = 0")
    made = world.client.post("/v1/sessions", json={"email": EMAIL, "password": PASSWORD})
    return {"Authorization": f"Bearer {made.json()['access']}"}


@pytest.mark.filterwarnings("ignore")
def test_every_answer_is_as_the_document_says(api_world: World) -> None:
    found = [operation for operation in operations(api_world) if operation.path != ENDLESS]
    assert len(found) > 40
    headers = login(api_world)
    statuses: dict[str, set[int]] = {}
    for operation in found:

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(
            max_examples=EACH,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        def ask(case: Any) -> None:
            answer = case.call(headers=headers)  # noqa: B023 - called before the next one
            statuses.setdefault(operation.label, set()).add(answer.status_code)  # noqa: B023
            case.validate_response(answer, checks=CHECKS)

        ask()
        if operation.path.startswith("/v1/sessions") or "members" in operation.path:
            headers = login(api_world)
    assert len(statuses) == len(found)
    assert sum(any(status < 300 for status in seen) for seen in statuses.values()) > 15, statuses
    assert not any(
        seen == {401}
        for label, seen in statuses.items()
        if "/v1/accounts" not in label
        and "token" not in label
        and "sessions" not in label
        and "invitations" not in label
    ), statuses
