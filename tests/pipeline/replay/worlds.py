"""Seeded logs of `blocks`: streams of text and JSON, ids given twice, frames that overlap, ticks, silences, bursts and novelties."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal
from uuid import UUID

import orjson

from pipeline.replay.shadow import Numbered
from schemas import frames
from schemas.controls import (
    AnchorControl,
    Control,
    FeedbackControl,
    ForgetControl,
    SettingsControl,
    StreamControl,
)
from schemas.frames import Block, Frame, Range
from schemas.models import Anomaly

ORGANIZATION = "7a6f3f0c-4a3b-4a57-9a54-3d3f1d0f6a01"
STREAMS = ("text", "json", "other words")
BEGAN = 1_700_000_000_000
TOPIC_ID = "blocks-of-a-world"

_Event = tuple[str, int, int, bytes, bytes]
"""Stream, offset in the source, received at, producer's id, body."""


def world(seed: int, events: int = 1_500, quiet: int = 400) -> list[Numbered]:
    """The frames of one partition; the first `quiet` events of all streams together are usual ones."""
    rng = random.Random(seed)
    made = _events(rng, events, quiet)
    out: list[Numbered] = []
    at, offset = 0, 5
    while at < len(made):
        size = rng.choice((1, 7, 30, 80))
        # Now and then a frame repeats the end of the one before: two packers at work.
        start = max(0, at - rng.randrange(9)) if rng.random() < 0.1 else at
        out.append(_numbered(made[start : at + size], offset))
        at += size
        offset += 1
        if rng.random() < 0.1:
            end = made[min(at, len(made)) - 1]
            out.append(_numbered([], offset, (end[1] + 1, end[2] + rng.randrange(40))))
            offset += 1
    last = made[-1]
    out.append(_numbered([], offset, (last[1] + 1, last[2] + 86_400_000)))
    return out


def with_said(log: Sequence[Numbered], said: Mapping[int, Sequence[Control]]) -> list[Numbered]:
    """The frames (the n-th of them) with control messages, each at its place of the control topic, which every frame has read."""
    out: list[Numbered] = []
    offset = 0
    for n, numbered in enumerate(log):
        frame, mine = numbered.frame, said.get(n, ())
        through = frame.ranges[0].through
        source = Range("control", "control-1", 0, (offset, 0), (offset + len(mine), 0), through)
        controls = tuple({**c.model_dump(mode="json"), "offset": offset + i} for i, c in enumerate(mine))
        changed = replace(frame, ranges=(*frame.ranges, source), controls=controls)
        offset += len(mine)
        out.append(replace(numbered, frame=frames.decode(frames.encode(changed))))
    return out


def going_on(log: Sequence[Numbered], frames_more: int) -> list[Numbered]:
    """The frames and some more, of ten minutes each, in which nothing is sent."""
    last = log[-1].frame.ranges[0]
    after = range(1, frames_more + 1)
    return [
        *log,
        *(_numbered([], log[-1].offset + k, (last.stop[0], last.through + k * 600_000)) for k in after),
    ]


def spoken(seed: int, log: Sequence[Numbered], told: Sequence[Anomaly]) -> dict[int, list[Control]]:
    """Random control messages by frame, mostly in the later half: of the organization, of each stream, of what was told."""
    rng = random.Random(seed)
    said: dict[int, list[Control]] = {}
    organization = UUID(ORGANIZATION)
    for version in range(1, 25):
        n = rng.randrange(rng.choice((0, len(log) // 2, len(log) - 9)), len(log))
        stream = rng.choice(STREAMS)
        now = log[n].frame.ranges[0].through
        common: dict[str, Any] = {"organization_id": organization, "version": version}
        control: Control = SettingsControl(**common, sensitivity=rng.choice((None, 900, 990, 1_000)))
        kind = rng.randrange(8)
        if kind < 4:
            control = StreamControl(
                **common,
                stream=stream,
                sensitivity=rng.choice((None, 0, 980, 1_000)),
                muted=rng.random() < 0.05,
                muted_until=rng.choice((None, now + rng.randrange(5_000))),
                paused=rng.random() < 0.2,
            )
        elif kind == 4 and rng.random() < 0.3:
            control = ForgetControl(**common, stream=stream)
        elif kind == 5:
            control = AnchorControl(**common, stream=stream)
        elif kind == 6 and told:
            one = rng.choice(told)
            verdict: Literal["normal", "confirmed", "none"] = rng.choice(("normal", "normal", "confirmed", "none"))
            control = FeedbackControl(
                **common, stream=one.stream, anomaly_id=one.id, verdict=verdict, patterns=one.patterns
            )
        said.setdefault(n, []).append(control)
    return said


def _events(rng: random.Random, count: int, quiet: int) -> list[_Event]:
    made: list[_Event] = []
    now, burst, ids = BEGAN, 0, 0
    stream = STREAMS[0]
    for n in range(count):
        now += rng.randrange(20, 60) if rng.random() < 0.9998 or n < quiet else 400_000
        odd = n > quiet and rng.random() < 0.004
        if odd and rng.random() < 0.5:
            burst, stream = rng.randrange(20, 60), rng.choice(STREAMS)
        if burst:
            burst -= 1
            body = f"upstream timed out while connecting to backend {rng.randrange(3)} é".encode()
        else:
            stream = rng.choice(STREAMS)
            body = _odd(rng) if odd else _usual(rng, stream)
        identity = b""
        if stream == "json":
            ids += rng.random() < 0.9
            identity = b"id-%d" % ids
        made.append((stream, n, now, identity, body))
    return made


def _usual(rng: random.Random, stream: str) -> bytes:
    if stream == "json":
        return orjson.dumps({"level": "info", "status": rng.choice([200, 201]), "ms": rng.randrange(90)})
    return f"GET /orders/{rng.randrange(10_000)} 200 in {rng.randrange(90)} ms".encode()


def _odd(rng: random.Random) -> bytes:
    return f"panic in rule {rng.randrange(10**6)} <{rng.randbytes(6).hex()}>".encode()


def _numbered(events: list[_Event], offset: int, tick: tuple[int, int] = (0, 0)) -> Numbered:
    rows: list[_Event] = []
    blocks = []
    for stream in STREAMS:
        mine = [event for event in events if event[0] == stream]
        if mine:
            blocks.append(Block(ORGANIZATION, stream, len(rows), len(rows) + len(mine)))
            rows += mine
    columns = frames.columns(
        [0] * len(rows),
        [0] * len(rows),
        [row[1] for row in rows],
        [row[2] for row in rows],
        [row[3] for row in rows],
        [row[4] for row in rows],
    )
    start, stop, through = (events[0][1], events[-1][1] + 1, events[-1][2]) if events else (tick[0], tick[0], tick[1])
    traces = {(0, row[1]): f"00-{row[1]:032x}-{row[1]:016x}-01" for row in rows if row[1] % 3 == 0}
    source = Range("events", "source", 0, (start, 0), (stop, 0), through)
    frame = frames.decode(frames.encode(Frame((source,), tuple(blocks), columns, traces=traces)))
    return Numbered(0, offset, frame, len(frame.events.body))
