"""The collector that is built reads every configuration that is shipped, in every combination that the README names."""

import os
import subprocess

import pytest

from pipeline.embedded import components
from pipeline.embedded.collector import CONFIGURATIONS
from tests.stack.providers import needed

GIVEN = {
    "ORGANIZATION_ID": "00000000-0000-5000-8000-000000000001",
    "KAFKA_BROKERS": "127.0.0.1:9092,127.0.0.2:9092",
    "KAFKA_SSL_CA": "ca.pem",
    "KAFKA_SASL_USERNAME": "user",
    "KAFKA_SASL_PASSWORD": "password",  # pragma: allowlist secret
    "DRIFTLOCK_API_URL": "https://api.example.org",
    "DRIFTLOCK_API_KEY": "key",  # pragma: allowlist secret
}


@pytest.mark.parametrize(
    "names",
    [
        ["collector"],
        ["collector", "organization"],
        ["collector", "organization", "sasl"],
        ["collector", "sasl"],
        ["api"],
    ],
    ids="+".join,
)
def test_a_configuration_is_right(names: list[str]) -> None:
    program = needed(components.collector)
    files = [word for name in names for word in ("--config", str(CONFIGURATIONS / f"{name}.yaml"))]
    done = subprocess.run(
        [program, "validate", *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **GIVEN},
    )
    assert (done.returncode, done.stderr) == (0, "")
