"""No float in `billing/`, no column of floating point in the migrations: `python -m tests.floats`, part of `make check`.

Refused: a float or complex literal, the names float and complex, true division, the modules that compute in floats, and
`json` (it reads numbers as floats). Seconds of waiting are no money: a constant named *_SECONDS, a parameter named
`timeouts` and a function named `backoff` may hold floats.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_MODULES = {"math", "cmath", "statistics", "fractions", "numpy", "json"}
_COLUMN = re.compile(r"\b(double\s+precision|real|float[48]?|money)\b", re.IGNORECASE)


def findings(source: str) -> list[str]:
    """What a module of billing has that it must not have, each with its line."""
    return sorted(_walk(ast.parse(source)), key=lambda said: int(said.split(":")[0]))


def _walk(node: ast.AST) -> Iterator[str]:
    if _is_about_waiting(node):
        return
    if said := _says(node):
        yield f"{getattr(node, 'lineno', 0)}: {said}"
    if isinstance(node, ast.arguments):
        yield from _arguments(node)
        return
    for child in ast.iter_child_nodes(node):
        yield from _walk(child)


def _is_about_waiting(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name == "backoff"
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return bool(targets) and all(isinstance(t, ast.Name) and t.id.endswith("_SECONDS") for t in targets)


def _arguments(node: ast.arguments) -> Iterator[str]:
    for argument in (*node.posonlyargs, *node.args, *node.kwonlyargs):
        if argument.arg != "timeouts":
            yield from _walk(argument)
    for default in (*node.defaults, *node.kw_defaults):
        if default is not None:
            yield from _walk(default)


def _says(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
        return f"the literal {node.value}"
    if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
        return "true division"
    if isinstance(node, ast.Name) and node.id in {"float", "complex"}:
        return f"the name {node.id}"
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names if alias.name.split(".")[0] in _MODULES]
        return f"import {', '.join(names)}" if names else ""
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in _MODULES:
        return f"from {node.module}"
    return ""


def columns(sql: str) -> list[str]:
    """Types of floating point in SQL, comments and texts aside, each with its line."""
    bare = re.sub(r"--[^\n]*|'(?:[^']|'')*'", lambda match: "\n" * match[0].count("\n"), sql)
    return [
        f"{number}: {match[0]}" for number, line in enumerate(bare.splitlines(), 1) for match in _COLUMN.finditer(line)
    ]


def main() -> int:
    """Print what is found; 1 if there is anything."""
    found = []
    for path in sorted((ROOT / "billing").rglob("*.py")):
        found += [f"{path.relative_to(ROOT)}:{said}" for said in findings(path.read_text("utf-8"))]
    for path in sorted((ROOT / "schemas" / "migrations").glob("*.sql")):
        found += [f"{path.relative_to(ROOT)}:{said}" for said in columns(path.read_text("utf-8"))]
    sys.stdout.write("".join(f"{said}: money is whole numbers and decimals\n" for said in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
