"""Drain3 (He and others, 2017): the rarity of an event's mined template, -log2 of its share so far."""

import math
from collections.abc import Callable

from drain3 import TemplateMiner
from drain3.masking import MaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig

from tests.quality.peers.features import words

OBJECTS = 0.9
"""Share of equal tokens from which two objects are of one template; for text Drain3's own default, .4. Of an object only its
strings are tokens: with its numbers among them all are alike (nslkdd .06 instead of .60)."""


def rarity() -> Callable[[object], float]:
    """A scorer of one series; numbers are masked, without which nearly every line is a template of its own."""
    miners: dict[bool, TemplateMiner] = {}
    n = 0

    def score(event: object) -> float:
        nonlocal n
        n += 1
        text = isinstance(event, str)
        if text not in miners:
            config = TemplateMinerConfig()
            config.profiling_enabled = False
            config.masking_instructions = [MaskingInstruction(r"\d+(\.\d+)?", "NUM")]
            if not text:
                config.drain_sim_th = OBJECTS
            miners[text] = TemplateMiner(config=config)
        found = miners[text].add_log_message(words(event)[:4000])
        return -math.log2(max(0.5, found["cluster_size"] - 1) / n)

    return score
