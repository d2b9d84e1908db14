"""A figure: what was measured, beside its peer in the same run, and the mark that it must meet."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One line of the benchmark. The ratio is value / peer_value; `mark` is None where it is only printed.

    `at_most`: the ratio must stay below the mark instead of reaching it. `void`: why the figure says nothing, or nothing.
    """

    name: str
    value: float
    unit: str
    peer: str
    peer_value: float
    mark: float | None = None
    at_most: bool = False
    void: str = ""

    @property
    def ratio(self) -> float:
        """value / peer_value."""
        return self.value / self.peer_value

    @property
    def met(self) -> bool:
        """Whether it counts and its mark is met; true where there is no mark."""
        if self.void:
            return False
        if self.mark is None:
            return True
        return self.ratio < self.mark if self.at_most else self.ratio >= self.mark

    def line(self) -> str:
        """One JSON object."""
        return json.dumps(
            {
                "name": self.name,
                "value": round(self.value),
                "unit": self.unit,
                "peer": self.peer,
                "peer_value": round(self.peer_value),
                "ratio": round(self.ratio, 4),
                "mark": self.mark,
            }
        )

    def missed(self) -> str:
        """The line that says why this figure fails the run; nothing where it does not."""
        if self.void:
            return f"{self.name}: void, {self.void}"
        if self.met:
            return ""
        return f"{self.name}: {self.ratio:.3f} of {self.peer}, the mark is {self._mark()}"

    def row(self) -> tuple[str, ...]:
        """The cells of its row in the table."""
        verdict = "void" if self.void else "" if self.mark is None else "met" if self.met else "MISSED"
        return (
            self.name,
            f"{self.value:,.0f}",
            self.unit,
            self.peer,
            f"{self.peer_value:,.0f}",
            f"{self.ratio:.3f}",
            self._mark(),
            verdict,
        )

    def _mark(self) -> str:
        return "" if self.mark is None else f"{'<' if self.at_most else '>='} {self.mark:g}"


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print the table, then one JSON object a line."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("figure", "value", "unit", "peer", "peer's", "ratio", "mark", ""):
        table.add_column(name, justify="right" if name in {"value", "peer's", "ratio", "mark"} else "left")
    for figure in figures:
        table.add_row(*figure.row())
    console.print(table)
    for figure in figures:
        console.print(figure.line(), markup=False, highlight=False, soft_wrap=True)
