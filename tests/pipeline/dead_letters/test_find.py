"""Which letters a filter means, and a letter's bytes."""

import pytest

from pipeline.dead_letters.find import Wanted, body
from tests.pipeline.dead_letters.test_again import ORGANIZATION, OWN, letter

LETTER = letter(b"\xff\x00", OWN, reason="not UTF-8: invalid start byte")


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Wanted(), True),
        (Wanted(reason="utf-8"), True),
        (Wanted(reason="json"), False),
        (Wanted(organization=ORGANIZATION.upper()), True),
        (Wanted(organization="another"), False),
        (Wanted(stage="packer", reason="start byte"), True),
        (Wanted(stage="worker"), False),
        (Wanted(ids=frozenset({LETTER.id})), True),
        (Wanted(ids=frozenset({letter(b"", OWN, offset=8).id})), False),
    ],
)
def test_a_filter(wanted: Wanted, *, fits: bool) -> None:
    assert wanted.fits(LETTER) is fits


def test_the_bytes_are_the_original_ones() -> None:
    assert body(LETTER) == b"\xff\x00"
    assert body(LETTER.model_copy(update={"body": "no base64!"})) == b""
