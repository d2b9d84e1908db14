"""What earlier releases wrote is read: messages of theirs lie in topics for two weeks, and both releases run during an upgrade."""

import pytest

from detectors.state import VERSION
from schemas.frames import decode
from schemas.models import Anomaly, AnomalyUsage, usage_from_bytes
from tests.schemas import wire


def test_the_present_version_is_among_them() -> None:
    assert wire.versions()[-1] == VERSION, "python -m tests.schemas.wire, before the next release changes it"


@pytest.mark.parametrize("version", wire.versions())
def test_messages_of_every_release_are_read(version: int) -> None:
    written = wire.read(version)
    assert [len(decode(frame)) for frame in written.frames] == [60, 60]
    anomalies = [Anomaly.from_bytes(value) for value in written.anomalies]
    assert [one.organization_id == anomalies[0].organization_id for one in anomalies] == [True] * 4
    assert all(one.explanation for one in anomalies)
    usage = [usage_from_bytes(value) for value in written.usage]
    assert {isinstance(one, AnomalyUsage) for one in usage} == {True, False}
    assert all(one.count > 0 for one in usage)
