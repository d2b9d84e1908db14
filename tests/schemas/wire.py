"""What earlier releases wrote, as files: `written/N.json.zst`, N the version of a stream's state; `python -m tests.schemas.wire` adds the present one.

1 and 2 were made by the code of their time (2026-11-24 and 2026-11-25), from the same log of events. `written/N.sql.zst` are the statements
that the sinks of that release sent, a JSON object a line: the role and the text.
"""

import base64
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson
import zstandard

WRITTEN = Path(__file__).parent / "written"
HANDLED = 80
"""Frames of tests/pipeline/worker/test_agent.py's log that were scored before the table was saved."""


@dataclass(frozen=True)
class Written:
    """Messages of a release, and its worker's table after `HANDLED` frames (`version` of the states in it)."""

    version: int
    frames: list[bytes]
    anomalies: list[bytes]
    usage: list[bytes]
    table: dict[bytes, bytes]


def versions() -> list[int]:
    """The versions that there are, the oldest first."""
    return sorted(int(path.name.split(".")[0]) for path in WRITTEN.glob("*.json.zst"))


def read(version: int) -> Written:
    """One of them."""
    found = orjson.loads(_plain(f"{version}.json.zst"))
    return Written(
        version,
        [base64.b64decode(one) for one in found["frames"]],
        [one.encode() for one in found["anomalies"]],
        [one.encode() for one in found["usage"]],
        {key.encode(): base64.b64decode(value) for key, value in found["table"].items()},
    )


def statements(version: int) -> list[tuple[str, str]]:
    """(role, SQL) in the order in which a release sent them."""
    lines = _plain(f"{version}.sql.zst").splitlines()
    return [(one["role"], one["sql"]) for one in map(orjson.loads, lines)]


def _plain(name: str) -> bytes:
    return zstandard.ZstdDecompressor().decompress((WRITTEN / name).read_bytes())


def main() -> int:
    """Write what the present release writes; 1 where its version is there already."""
    from detectors.state import VERSION
    from schemas.topics import ANOMALIES, USAGE
    from tests.pipeline.worker import test_agent as agent

    path = WRITTEN / f"{VERSION}.json.zst"
    if path.exists():
        sys.stderr.write(f"{path.name} is there: what was written does not change\n")
        return 1
    outside = agent.Outside(agent.LOG[:HANDLED])
    agent.run(outside, agent.worker(outside, 60_000), list(range(HANDLED)))
    units, counts = (
        [o.value for o in outside.sent if o.topic == USAGE.name and orjson.loads(o.value)["is_anomaly"] is flag]
        for flag in (True, False)
    )
    made = {
        "frames": [base64.b64encode(frame).decode() for frame in (agent.LOG[0], agent.LOG[HANDLED - 1])],
        "anomalies": [o.value.decode() for o in outside.sent if o.topic == ANOMALIES.name][:4],
        "usage": [value.decode() for value in (*units[:3], *counts[:2])],
        "table": {key.decode(): base64.b64encode(value).decode() for key, value in outside.table.items()},
    }
    path.write_bytes(zstandard.ZstdCompressor(level=19).compress(orjson.dumps(made)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
