"""A block that could not be scored becomes dead letters that can be sent again under the ids that the events had."""

import numpy as np

from pipeline.dead_letters.again import again
from pipeline.worker.outputs import outputs
from pipeline.worker.partition import Partition
from pipeline.worker.scoring import Failed, Scored, event_id
from schemas import frames, records
from schemas.frames import Block, Frame, Range
from schemas.identity import named_event_id
from schemas.models import DeadLetter

ORGANIZATION = "7a6f3f0c-4a3b-4a57-9a54-3d3f1d0f6a01"
NAMES = (b"request-1/7", b"mine", b"")
BODIES = (b"a text", b'{"event_id":"mine"}', b"[x] another")


def test_letters_of_a_failed_block_keep_the_events_ids() -> None:
    block = Block(ORGANIZATION, "s", 0, 3)
    columns = frames.columns([0] * 3, [0, 1, 2], [9] * 3, [1_700_000_000_000] * 3, NAMES, BODIES)
    frame = Frame((Range("events", "T", 0, (9, 0), (10, 0), 0),), (block,), columns)
    failed = Failed(block, np.arange(3), "could not be scored: ValueError: x")
    sent = outputs(Partition(0, "blocks"), 4, frame, Scored([], {}, [failed], whole=True, overflowed=set(), obeyed=0))
    letters = [DeadLetter.from_bytes(output.value) for output in sent]
    assert [(letter.offset, letter.index, letter.stage) for letter in letters] == [(9, i, "worker") for i in range(3)]
    names = []
    for letter, body in zip(letters, BODIES, strict=True):
        record = again(letter, None, {ORGANIZATION})
        ((_, same, stream, name),), dead = records.read(record.value, records.describe(record.headers))
        assert (same, stream, dead) == (body, "s", [])
        names.append(name)
    assert names == [*NAMES[:2], f"{letters[2].id}/0".encode()]
    ends = np.cumsum(columns.id_length, dtype=np.int64)
    for i in range(2):
        assert event_id(frame, block, i, ends) == named_event_id(ORGANIZATION, "s", names[i].decode())
