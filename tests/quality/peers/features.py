"""What the peers see of an event: its text, its tokens, and a vector of hashed tokens with its numbers."""

import re
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

_TOKEN = re.compile(r"[A-Za-z_]+|\d+(?:\.\d+)?")


def text(event: object) -> str:
    """The event as one line."""
    return event if isinstance(event, str) else orjson.dumps(event).decode()


def words(event: object) -> str:
    """The event as words with spaces between, which a miner of templates needs; of an object path=value of each string."""
    if isinstance(event, str):
        return event.replace("\n", " ")
    return " ".join(f"{path}={value}".replace("\n", " ") for path, value in _strings(event))


def _strings(event: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(event, dict):
        for key, value in event.items():
            yield from _strings(value, f"{path}.{key}")
    elif isinstance(event, str):
        yield path, event


def numbers(event: object, path: str = "") -> Iterator[tuple[str, float]]:
    """(path, value) of each number of an object."""
    if isinstance(event, dict):
        for key, value in event.items():
            yield from numbers(value, f"{path}.{key}")
    elif isinstance(event, int | float) and not isinstance(event, bool):
        yield path, float(event)


def hashed(event: object, width: int) -> NDArray[np.float64]:
    """float64[width]: counts of tokens by hash; a number of an object counts by its path, scaled by its logarithm."""
    vector = np.zeros(width)
    for token in _tokens(event):
        vector[zlib.crc32(token.encode()) % width] += 1
    for path, value in numbers(event):
        vector[zlib.crc32(path.encode()) % width] += float(np.sign(value) * np.log1p(abs(value)))
    return vector


def _tokens(event: Any, path: str = "") -> Iterator[str]:
    if isinstance(event, dict):
        for key, value in event.items():
            yield from _tokens(value, f"{path}.{key}")
    elif isinstance(event, str):
        for token in _TOKEN.findall(event):
            yield f"{path}={token if token[0].isalpha() else '#'}"
    elif isinstance(event, bool) or event is None:
        yield f"{path}={event}"
