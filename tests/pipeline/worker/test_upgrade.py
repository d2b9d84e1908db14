"""A worker that takes over from another release: what it can use it uses, what it can't it learns anew, and nothing is billed twice."""

import orjson
import pytest

from detectors.state import VERSION
from pipeline.worker import saved
from schemas.topics import ANOMALIES, USAGE
from tests.pipeline.worker import test_agent as agent
from tests.schemas import wire

REST = list(range(wire.HANDLED, len(agent.LOG)))


def taken_over(table: dict[bytes, bytes]) -> agent.Outside:
    """The rest of the log, scored by the present release on the table of another."""
    outside = agent.Outside(agent.LOG, table=dict(table))
    agent.run(outside, agent.worker(outside, 60_000), REST)
    return outside


def units(outside: agent.Outside) -> list[dict[str, object]]:
    """The units among the usage records sent."""
    values = [orjson.loads(output.value) for output in outside.sent if output.topic == USAGE.name]
    return [value for value in values if value["is_anomaly"]]


def scored(outside: agent.Outside) -> int:
    """Events counted in the usage records sent."""
    values = [orjson.loads(output.value) for output in outside.sent if output.topic == USAGE.name]
    return sum(value["count"] for value in values if not value["is_anomaly"])


def test_the_same_version_goes_on_as_if_nothing_had_been() -> None:
    outside = taken_over(wire.read(VERSION).table)
    later = agent.told(outside)
    assert later.items() <= agent.CLEAN.items()
    assert sum(name.startswith("anomaly") for name in later) > 3


@pytest.mark.parametrize("version", [v for v in wire.versions() if v != VERSION])
def test_states_of_an_earlier_release_are_learned_anew_and_free_meanwhile(version: int) -> None:
    written = wire.read(version)
    outside = taken_over(written.table)
    assert scored(outside) >= len(REST) * agent.EVENTS_A_FRAME
    assert not any(unit["calibrated"] for unit in units(outside))
    streams = [key for key in outside.table if not key.startswith(b"partition/")]
    assert {saved.version_of(saved.decode_stream(outside.table[key]).dump) for key in streams} == {VERSION}
    before = {orjson.loads(value)["usage_id"] for value in written.usage}
    assert before.isdisjoint(unit["usage_id"] for unit in units(outside))


def test_two_releases_that_take_turns_stop_at_nothing() -> None:
    """A later release has had the partition, and gives it back: as far as this one can know, its states have another version."""
    table = dict(wire.read(VERSION).table)
    for key in [key for key in table if not key.startswith(b"partition/")]:
        state = saved.decode_stream(table[key])
        dump = state.dump[:3] + bytes([VERSION + 1]) + state.dump[4:]
        table[key] = saved.encode_stream(saved.SavedStream(state.topic_id, state.position, dump))
    outside = taken_over(table)
    assert scored(outside) >= len(REST) * agent.EVENTS_A_FRAME
    assert not any(unit["calibrated"] for unit in units(outside))
    assert {output.topic for output in outside.sent} <= {ANOMALIES.name, USAGE.name}


def test_a_damaged_state_is_no_other_release() -> None:
    table = dict(wire.read(VERSION).table)
    key = next(key for key in table if key.endswith(b"/a"))
    table[key] = table[key][:-9]
    with pytest.raises(ValueError, match="can't be read"):
        taken_over(table)
