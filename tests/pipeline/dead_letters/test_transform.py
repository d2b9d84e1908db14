"""Rules on letters: what each does, what it refuses, and files that are none."""

from pathlib import Path

import pytest

from pipeline.dead_letters.transform import BadTransform, Transform, Unfit, apply, load


@pytest.mark.parametrize(
    ("rules", "value", "becomes"),
    [
        (Transform(encoding="latin-1"), "Z\xfcrich".encode("latin-1"), "Zürich".encode()),
        (Transform(replace=[["'", '"'], ["None", "null"]]), b"{'a': None}", b'{"a": null}'),
        (Transform(truncate=4), "abcé".encode(), b"abc"),
        (
            Transform(rename={"id": "event_id"}, remove=["x"], set={"stream": "s"}),
            b'{"id":1,"x":2}',
            b'{"event_id":1,"stream":"s"}',
        ),
        (Transform(replace=[["NaN", "0"]], set={"b": [1]}), b'{"a":NaN}', b'{"a":0,"b":[1]}'),
        (Transform(), b"\xff", b"\xff"),
    ],
)
def test_a_rule(rules: Transform, value: bytes, becomes: bytes) -> None:
    assert apply(rules, value) == becomes


@pytest.mark.parametrize(
    ("rules", "value", "why"),
    [
        (Transform(encoding="ascii"), b"\xff", "not ascii"),
        (Transform(set={"a": 1}), b"text", "not JSON"),
        (Transform(remove=["a"]), b"[1]", "not a JSON object"),
    ],
)
def test_what_does_not_fit_is_said(rules: Transform, value: bytes, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        apply(rules, value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "the file"),
        ('{"sett":{}}', "sett"),
        ('{"encoding":"klingon"}', "klingon"),
        ('{"replace":[["a"]]}', "replace.0"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "rules.json"
    file.write_text(text, "utf-8")
    with pytest.raises(BadTransform, match=why):
        load(file)
    with pytest.raises(BadTransform, match="No such file"):
        load(tmp_path / "none.json")
