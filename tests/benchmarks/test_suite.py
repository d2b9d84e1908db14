"""The benchmark runs and says what it should: real processes on real Kafka, too short to tell how fast they are."""

import json
from pathlib import Path

from pipeline.embedded.broker import Broker
from tests.benchmarks.suite import QUICK, measure


def test_every_figure_is_measured(own_broker: Broker, tmp_path: Path) -> None:
    said: list[str] = []
    figures = measure(own_broker, tmp_path, QUICK, said.append)
    objects = [json.loads(figure.line()) for figure in figures]
    assert [(o["name"], o["mark"]) for o in objects] == [
        ("packer", 0.333),
        ("detector", None),
        ("worker", None),
        ("whole way", 10),
        ("whole way beside reading", None),
        ("changelog, 100 streams", 0.3),
    ]
    assert all(set(o) == {"name", "value", "unit", "peer", "peer_value", "ratio", "mark"} for o in objects)
    assert all(o["value"] > 0 and o["peer_value"] > 0 for o in objects)
    assert "round 1 of 1" in said
