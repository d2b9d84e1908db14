"""Rules that change a letter before it is sent again: data, not a program. README.md says why."""

from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import DriftlockError
from schemas.topics import MAX_EVENT_BYTES


class BadTransform(DriftlockError):
    """A file of rules can't be used."""


class Unfit(ValueError):
    """A letter that the rules can't be applied to; the text says why."""


class Transform(BaseModel):
    """Applied in this order. Fields are those at the top of a JSON object; null as a header removes it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    encoding: Annotated[str, Field(description="the bytes are text in this encoding, and become UTF-8")] = ""
    replace: Annotated[
        list[Annotated[list[str], Field(min_length=2, max_length=2)]],
        Field(description="[what, by what], literally, everywhere"),
    ] = []
    truncate: Annotated[int | None, Field(ge=1, le=MAX_EVENT_BYTES, description="bytes of a text to keep")] = None
    rename: Annotated[dict[str, str], Field(description="field: its new name")] = {}
    remove: Annotated[list[str], Field(description="fields to leave out")] = []
    set: Annotated[dict[str, Any], Field(description="field: its value")] = {}
    headers: Annotated[dict[str, str | None], Field(description="header: its value")] = {}


def load(path: Path) -> Transform:
    """The rules of a file; `BadTransform` names each line of it that does not fit."""
    try:
        rules = Transform.model_validate_json(path.read_bytes())
        "".encode(rules.encoding or "utf-8")
    except OSError as error:
        raise BadTransform(f"--transform {path} can't be read: {error.strerror}") from error
    except LookupError as error:
        raise BadTransform(f"--transform {path}: {error}") from error
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise BadTransform(f"--transform {path}: {said}") from error
    return rules


def apply(rules: Transform, value: bytes) -> bytes:
    """The bytes after the rules; `Unfit` where they are not what a rule needs. Headers are not looked at."""
    if rules.encoding:
        try:
            value = value.decode(rules.encoding).encode()
        except (UnicodeError, ValueError) as error:
            raise Unfit(f"not {rules.encoding}: {error}") from error
    for old, new in rules.replace:
        if old:
            value = value.replace(old.encode(), new.encode())
    if rules.truncate is not None and len(value) > rules.truncate:
        # A cut in the middle of a character would make it no UTF-8.
        value = value[: rules.truncate].decode("utf-8", "ignore").encode()
    if not (rules.rename or rules.remove or rules.set):
        return value
    try:
        event = orjson.loads(value)
    except ValueError as error:
        raise Unfit(f"rules for fields, and it is not JSON: {error}") from error
    if not isinstance(event, dict):
        raise Unfit("rules for fields, and it is not a JSON object")
    changed = {rules.rename.get(name, name): v for name, v in event.items() if name not in rules.remove}
    return orjson.dumps(changed | rules.set)
