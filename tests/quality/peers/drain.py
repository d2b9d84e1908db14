"""Drain3 (He and others, 2017): the rarity of an event's mined template, -log2 of its share so far."""

import math
from collections.abc import Callable

from drain3 import TemplateMiner
from drain3.masking import MaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig

from tests.quality.peers.features import words


def rarity() -> Callable[[object], float]:
    """A scorer of one series."""
    config = TemplateMinerConfig()
    config.profiling_enabled = False
    config.masking_instructions = [MaskingInstruction(r"\d+(\.\d+)?", "NUM")]
    miner = TemplateMiner(config=config)
    n = 0

    def score(event: object) -> float:
        nonlocal n
        n += 1
        found = miner.add_log_message(words(event)[:4000])
        return -math.log2(max(1, found["cluster_size"] - 1) / n) + (
            1.0 if found["change_type"] == "cluster_created" else 0.0
        )

    return score
