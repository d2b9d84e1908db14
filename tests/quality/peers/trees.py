"""Half-space trees (Tan, Ting and Liu, 2011) of River, over hashed tokens and numbers, scaled to 0 .. 1 as they come."""

from collections.abc import Callable

from river import anomaly, preprocessing

from tests.quality.peers.features import hashed

WIDTH = 24


def half_space() -> Callable[[object], float]:
    """A scorer of one series."""
    scale = preprocessing.MinMaxScaler()
    trees = anomaly.HalfSpaceTrees(n_trees=25, height=8, window_size=250, seed=1)

    def score(event: object) -> float:
        row = dict(enumerate(hashed(event, WIDTH).tolist()))
        scale.learn_one(row)
        scaled = scale.transform_one(row)
        value = float(trees.score_one(scaled))
        trees.learn_one(scaled)
        return value

    return score
