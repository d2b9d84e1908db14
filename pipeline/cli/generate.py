"""`driftlock generate`: the committed files that follow from the code; `--check` compares them instead."""

import sys
from importlib.metadata import entry_points
from pathlib import Path

import orjson
from pydantic import BaseModel

from schemas import asyncapi, controls, metrics, models, notices, outbound, settings, strimzi
from schemas.errors import DriftlockError

ROOT = Path(__file__).resolve().parents[2]
_MESSAGES: tuple[type[BaseModel], ...] = (
    models.Event,
    models.Anomaly,
    models.AnomalyUsage,
    models.ScoredUsage,
    models.DeadLetter,
    models.OrganizationControl,
    *controls.KINDS.values(),
    *notices.KINDS.values(),
)


class StaleFiles(DriftlockError):
    """Generated files are not fresh: run `driftlock generate` and commit what it writes."""


def generated() -> dict[str, bytes]:
    """Path below the repository → content of every generated file."""
    files = {".env.example": settings.env_example().encode(), "deploy/metrics.md": metrics.table().encode()}
    for model in _MESSAGES:
        schema = model.model_json_schema(mode="serialization")
        files[f"schemas/json/{model.__name__}.json"] = orjson.dumps(schema, option=orjson.OPT_INDENT_2) + b"\n"
    for kind, body in outbound.BODIES.items():
        schema = body.model_json_schema(mode="serialization")
        files[f"schemas/json/events/{kind}.json"] = orjson.dumps(schema, option=orjson.OPT_INDENT_2) + b"\n"
    files["schemas/asyncapi.json"] = orjson.dumps(asyncapi.document(), option=orjson.OPT_INDENT_2) + b"\n"
    from pipeline.api.app import build

    document = build({}, "", "").openapi()
    files["pipeline/api/openapi.json"] = orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"
    files |= strimzi.files()
    for entry in entry_points(group="driftlock.generated"):  # of upper layers, so that imports go one way
        files |= entry.load()()
    return files


def generate(*, check: bool = False) -> None:
    """Write the generated files.

    Parameters
    ----------
    check
        Write nothing; exit 2 where a file differs.
    """
    stale = [path for path, content in generated().items() if _read(ROOT / path) != content]
    if check and stale:
        raise StaleFiles(f"not fresh: {', '.join(stale)}: run `driftlock generate` and commit what it writes")
    for path in stale:
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(generated()[path])
        sys.stdout.write(f"wrote {path}\n")


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
