"""Nothing of the machine that recorded stays in a recording: its paths, host, ports and secrets get fixed names."""

import re
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Scrubber:
    """(pattern, what stands for it), applied in this order."""

    rules: tuple[tuple[re.Pattern[str], str], ...]


def scrubber(folders: Mapping[Path, str], ports: Mapping[int, int], secrets: Iterable[str]) -> Scrubber:
    """The rules of a run: its folders and ports by what they are called in the recording, and what is never shown."""
    rules = [(re.compile(re.escape(secret)), "********") for secret in secrets if secret]
    named = {**folders, ROOT: "/opt/driftlock", Path(sys.base_prefix): "/usr", Path.home(): "/var/empty"}
    for folder, name in sorted(named.items(), key=lambda item: -len(str(item[0]))):
        rules.append((re.compile(rf"(?<![\w/.]){re.escape(str(folder))}(?![\w.-])"), name))
    for port, name_of_port in ports.items():
        rules.append((re.compile(rf"(?<=[:= ]){port}(?!\d)"), str(name_of_port)))
    rules.append((re.compile(rf"(?<![\w.-]){re.escape(socket.gethostname())}(?![\w-])"), "node-1"))
    rules.append((re.compile(r"\b127\.(\d{1,3}\.\d{1,3}\.\d{1,3})\b"), r"10.\1"))
    return Scrubber(tuple(rules))


def scrub(rules: Scrubber, event: str | dict[str, Any]) -> str | dict[str, Any]:
    """An event as it goes into the recording."""
    text = event if isinstance(event, str) else orjson.dumps(event).decode()
    for pattern, name in rules.rules:
        text = pattern.sub(name, text)
    return text if isinstance(event, str) else orjson.loads(text)
