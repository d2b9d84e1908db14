"""What is seen of the adversarial cases is what is stated, in figures.json and in the README."""

import pytest

from tests.quality import adversarial, figures
from tests.quality.adversarial import CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_seen_is_what_is_stated(case: adversarial.Case) -> None:
    stated = figures.read()["adversarial"]
    assert case.name in stated, "run `make quality-accept`"
    outcome = adversarial.run(case)
    assert adversarial.changed(stated, {case.name: outcome.verdict}) == []


def test_the_readme_has_the_table_of_these_outcomes() -> None:
    made = figures.README.read_text("utf-8").split("<!-- begin adversarial -->")[1].split("<!-- end adversarial -->")[0]
    rows = {cells[1].strip(): cells for cells in (line.split("|") for line in made.splitlines()[3:] if line)}
    assert {name: cells[4].strip(" *") for name, cells in rows.items()} == figures.read()["adversarial"]
    assert set(rows) == {case.name for case in CASES}
    assert len(CASES) == 10
