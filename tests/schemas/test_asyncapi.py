"""The AsyncAPI document: valid by AsyncAPI's own schema, whole, and true of what is sent."""

from typing import Any
from uuid import uuid4

import orjson
import pytest
from jsonschema_rs import Draft7Validator, ValidationError

from pipeline.embedded import components
from schemas import controls, models
from schemas.asyncapi import MESSAGES, document
from schemas.topics import TOPICS
from tests.integration.api_world import anomaly
from tests.stack.providers import needed


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return document()


def test_it_is_an_asyncapi_document(made: dict[str, Any]) -> None:
    schema = orjson.loads(needed(components.asyncapi).read_bytes())
    validator = Draft7Validator(schema)
    assert [error.message[:200] for error in validator.iter_errors(made)] == []
    broken = {**made, "channels": {"events": {"address": 5}}}
    assert not validator.is_valid(broken), "the schema is one that refuses"


def test_every_topic_is_a_channel_with_messages_and_operations(made: dict[str, Any]) -> None:
    assert made["channels"].keys() == {topic.name for topic in TOPICS} | {"events-of-one-organization"}
    named = {operation["channel"]["$ref"].rpartition("/")[2] for operation in made["operations"].values()}
    assert named == made["channels"].keys()
    for channel in made["channels"].values():
        assert channel["messages"]
        for message in channel["messages"].values():
            assert message["$ref"].rpartition("/")[2] in made["components"]["messages"]


def test_every_message_of_a_topic_is_in_it() -> None:
    said = {
        m
        for m in (*vars(models).values(), *vars(controls).values())
        if isinstance(m, type) and issubclass(m, models.Message)
    }
    versioned = {m for m in said if "v" in m.model_fields}
    assert versioned == {model for of in MESSAGES.values() for model in of}


def test_schemas_take_what_is_sent_and_refuse_what_is_not(made: dict[str, Any]) -> None:
    def judge(name: str) -> Draft7Validator:
        return Draft7Validator({"$ref": f"#/components/schemas/{name}", "components": made["components"]})

    sent = orjson.loads(anomaly(uuid4(), 1).to_bytes())
    judge("Anomaly").validate(sent)
    with pytest.raises(ValidationError):
        judge("Anomaly").validate({**sent, "severity": "worst"})
    judge("OrganizationControl").validate(orjson.loads(models.OrganizationControl(id=uuid4(), version=3).to_bytes()))
    letter = models.DeadLetter(
        id=uuid4(),
        stage="packer",
        reason="r",
        topic="events",
        topic_id="t",
        partition=0,
        offset=1,
        index=0,
        received_at=5,
        organization_id=None,
        headers=(("a", "b"),),
        key=None,
        body="",
    )
    sent = orjson.loads(letter.to_bytes())
    judge("DeadLetter").validate(sent)
    with pytest.raises(ValidationError):
        judge("DeadLetter").validate({**sent, "headers": [["a"]]})
