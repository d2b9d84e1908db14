"""Isolation forest (Liu, Ting and Zhou, 2008) of scikit-learn over hashed tokens, fitted anew on the last 2,048 events every 512."""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from tests.quality.peers.features import hashed

WIDTH, LAST, EVERY, FIRST = 128, 2048, 512, 128


def isolation(events: list[object]) -> list[float]:
    """Scores of one series, each by a forest fitted on earlier events only; 0 while there are fewer than FIRST."""
    rows: NDArray[np.float64] = np.array([hashed(event, WIDTH) for event in events])
    scores: NDArray[np.float64] = np.zeros(len(events))
    place = FIRST
    while place < len(events):
        forest = IsolationForest(n_estimators=64, random_state=1).fit(rows[max(0, place - LAST) : place])
        upto = min(len(events), place + (min(EVERY, place)))
        scores[place:upto] = -forest.score_samples(rows[place:upto])
        place = upto
    return [float(s) for s in scores]
