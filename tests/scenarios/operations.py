"""What an operator asks of a stack: commands as they are typed, on what stories have made."""

import os
import subprocess
import sys

import orjson

from tests.scenarios.stories import Story


def command(story: Story, *words: str, code: int = 0, **settings: str) -> str:
    """Run a command of ours; its output."""
    argv = [sys.executable, "-m", "pipeline.cli", *words]
    environ = {**os.environ, **story.parts.environ, **settings}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == code, (words, done.returncode, done.stdout + done.stderr)
    return done.stdout + done.stderr


def nothing_differs(story: Story) -> int:
    """The past scored again with the same settings gives what was told, byte by byte; returns the number of anomalies."""
    said = orjson.loads(command(story, "replay", "--json"))
    assert (said["changed"], said["only_then"], said["only_now"]) == (0, 0, 0)
    # Repeated frames are read again too, and their events left out. Time goes on: a silence may be found that is not yet told.
    assert said["events"] >= story.published.events
    assert said["anomalies"][0] == said["same"] > 0
    assert said["anomalies"][1] == said["same"] + said["later"]
    return int(said["same"])
