"""Grafana's JSON of the dashboards (schema of Grafana 11)."""

import json
from typing import Any

from dashboards.grafana import api, billing, detection, flow, slo, tenant
from dashboards.grafana.panels import Board, Panel

BOARDS = (flow.BOARD, detection.BOARD, billing.BOARD, tenant.BOARD, api.BOARD, slo.BOARD)
FOLDER = "dashboards/grafana/json"
SCHEMA_VERSION = 40
_WIDTH, _HEIGHT = 24, 8
_TYPES = {"prometheus": "prometheus", "postgres": "postgres"}


def board(given: Board) -> dict[str, Any]:
    """One dashboard. Ids and places follow from the order, so the same code gives the same bytes."""
    panels, x, y = [], 0, 0
    for number, one in enumerate(given.panels, start=1):
        if x + one.width > _WIDTH:
            x, y = 0, y + _HEIGHT
        panels.append(_panel(one, number, x, y))
        x += one.width
    return {
        "uid": given.uid,
        "title": given.title,
        "description": given.what,
        "tags": ["driftlock"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "links": [
            {"type": "dashboards", "tags": ["driftlock"], "title": "DriftLock", "asDropdown": True, "keepTime": True}
        ],
        "templating": {
            "list": [
                {"name": name, "label": label, "type": "textbox", "query": "", "current": {"text": "", "value": ""}}
                for name, label in given.variables
            ]
        },
        "annotations": {"list": []},
        "panels": panels,
    }


def _panel(one: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    source = {"type": _TYPES[one.source], "uid": one.source}
    targets = []
    for letter, query in zip("ABCDEFGHIJ", one.queries, strict=False):
        target: dict[str, Any] = {"refId": letter, "datasource": source}
        if one.source == "prometheus":
            target |= {"expr": query.text, "legendFormat": query.legend, "editorMode": "code", "range": True}
            if one.kind != "timeseries":
                target |= {"range": False, "instant": True}
            if one.kind == "table":
                target["format"] = "table"
        else:
            form = "time_series" if one.kind == "timeseries" else "table"
            target |= {"rawSql": query.text, "rawQuery": True, "editorMode": "code", "format": form}
        targets.append(target)
    made: dict[str, Any] = {
        "id": number,
        "type": one.kind,
        "title": one.title,
        "description": one.what,
        "datasource": source,
        "gridPos": {"x": x, "y": y, "w": one.width, "h": _HEIGHT},
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": one.unit, "custom": {}}, "overrides": []},
        "options": {},
    }
    if one.kind == "timeseries":
        made["fieldConfig"]["defaults"] |= {
            "min": 0,
            "custom": {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never"},
        }
        made["options"] = {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}}
    return made


def files() -> dict[str, bytes]:
    """Path below the repository → content."""
    made = {}
    for one in BOARDS:
        text = json.dumps(board(one), indent=1, ensure_ascii=False) + "\n"
        made[f"{FOLDER}/{one.uid.removeprefix('driftlock-')}.json"] = text.encode()
    return made
