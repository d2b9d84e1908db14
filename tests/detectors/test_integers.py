"""No float, dot product, transcendental or random draw lies on the scoring path: read from its modules' syntax trees."""

import ast
from pathlib import Path

import pytest

import detectors

FOLDER = Path(detectors.__file__).parent
SCORING_PATH = (
    "anchor", "burst", "counts", "episodes", "evidence", "fields", "habits", "identity", "kernel", "layout", "logs", "novelty",
    "number",
    "objects", "pairs", "patterns", "rate",
    "quantities", "reading", "reference", "samples", "scales", "sessions", "silence", "state",
    "tables", "tails", "tokens", "weekly",
)  # fmt: skip
NOT_SCORING = {"__init__", "detector", "feedback", "jit", "standing"}
FORBIDDEN_NAMES = {
    "float", "float16", "float32", "float64", "double", "dot", "matmul", "inner_product", "einsum", "vdot", "tensordot", "mean", "std",
    "var", "average", "log", "log10", "log1p", "exp", "expm1", "exp2", "sqrt", "sin", "cos", "tan", "pow", "power", "fsum", "random",
    "default_rng", "fastmath", "time", "perf_counter",
}  # fmt: skip
FORBIDDEN_MODULES = {"math", "random", "time", "datetime", "statistics", "cmath", "fractions", "decimal"}


def findings(source: str) -> list[str]:
    """What a module has that its path must not have, with the line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            found.append(f"{line}: the float {node.value}")
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div | ast.MatMult):
            found.append(f"{line}: {type(node.op).__name__}")
        elif isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_NAMES:
            found.append(f"{line}: {node.attr}")
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in {"float", "complex"}:
            found.append(f"{line}: {node.id}")
        elif isinstance(node, ast.Import):
            found += [f"{line}: import {a.name}" for a in node.names if a.name.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
            found += [
                f"{line}: from {node.module} import {a.name}"
                for a in node.names
                if (node.module, a.name) != ("math", "isqrt")
            ]
    return found


@pytest.mark.parametrize("name", SCORING_PATH)
def test_only_integers(name: str) -> None:
    assert findings((FOLDER / f"{name}.py").read_text()) == []


def test_every_module_is_on_one_of_the_lists() -> None:
    assert {p.stem for p in FOLDER.glob("*.py")} == set(SCORING_PATH) | NOT_SCORING


@pytest.mark.parametrize(
    "bad",
    ["x = 1.5", "x = a / b", "x = a @ b", "import math", "x = np.dot(a, b)", "x = np.exp(a)", "x = float(a)", "a /= 2"],
)
def test_the_lint_sees(bad: str) -> None:
    assert findings(bad)
