"""Drain3 (He and others, 2017): the rarity of an event's mined template, -log2 of its share so far."""

import math
from collections.abc import Callable

from drain3 import TemplateMiner
from drain3.masking import MaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig

from tests.quality.peers.features import words


def rarity(similarity: float = 0.4) -> Callable[[object], float]:
    """A scorer of one series; `similarity`: share of equal tokens from which two events are of one template (.4 is Drain3's own).

    Numbers are masked, without which nearly every line is a template of its own. Of an object only strings are tokens: with its
    numbers among them all are alike (nslkdd .06 instead of .54 and .60).
    """
    config = TemplateMinerConfig()
    config.profiling_enabled = False
    config.drain_sim_th = similarity
    config.masking_instructions = [MaskingInstruction(r"\d+(\.\d+)?", "NUM")]
    miner = TemplateMiner(config=config)
    n = 0

    def score(event: object) -> float:
        nonlocal n
        n += 1
        found = miner.add_log_message(words(event)[:4000])
        return -math.log2(max(0.5, found["cluster_size"] - 1) / n)

    return score


def strict() -> Callable[[object], float]:
    """The same at a similarity of .9: better on records of few categories, worse on text."""
    return rarity(0.9)
