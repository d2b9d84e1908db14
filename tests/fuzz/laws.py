"""What must hold of a parser, whatever it is given: only declared errors, and calls bounded by the input's length."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any


@dataclass(frozen=True)
class Parser:
    """A parser of the outside world. `parse` takes any bytes; `seeds` are inputs, some of them good; `errors` are all that it may raise.

    It may make `base` calls for any input, and `calls_a_byte` more for each byte of its `size` (what it is unpacked).
    """

    parse: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    calls_a_byte: int
    seeds: Callable[[], Sequence[bytes]]
    base: int = 3_000
    size: Callable[[bytes], int] = len


class Broken(AssertionError):
    """A law does not hold of an input."""


def check(parser: Parser, data: bytes) -> tuple[int, bool]:
    """(calls, whether it was accepted) of an input; `Broken` says which law it breaks."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal calls
        if event in {"call", "c_call"}:
            calls += 1

    accepted = True
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        parser.parse(data)
    except parser.errors:
        accepted = False
    except Exception as error:
        raise Broken(f"{type(error).__name__}, which is not declared: {error}") from error
    finally:
        sys.setprofile(before)
    if calls > parser.base + parser.calls_a_byte * len(data):
        size = parser.size(data)  # asked only where it matters
        if calls > parser.base + parser.calls_a_byte * size:
            raise Broken(f"{calls} calls for {size} bytes: at most {parser.calls_a_byte} a byte and {parser.base}")
    return calls, accepted


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096
