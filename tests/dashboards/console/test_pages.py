"""What is served as it is: vendored files with their checksums and licences, and templates that hold nothing inline."""

import hashlib
import re

from dashboards.console.pages import HERE, STATIC

VENDOR = STATIC / "vendor"
TEMPLATES = sorted((HERE / "templates").glob("*.html"))


def test_vendored_files_are_those_of_the_list_each_with_its_licence() -> None:
    lines = (VENDOR / "vendor.sha256").read_text("ascii").splitlines()
    said = {name: digest for digest, name in map(str.split, lines)}
    there = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in VENDOR.iterdir() if p.name != "vendor.sha256"}
    assert there == said
    packages = {re.sub(r"-\d.*", "", name) for name in there if not name.endswith(".LICENSE")}
    assert {f"{package}.LICENSE" for package in packages} == {n for n in there if n.endswith(".LICENSE")}


def test_no_template_holds_a_script_a_style_or_another_origin() -> None:
    assert TEMPLATES
    inline = re.compile(
        r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|(?:src|href|action)=[\"'](?:https?:)?//", re.IGNORECASE
    )
    found = [f"{path.name}: {match[0]}" for path in TEMPLATES for match in inline.finditer(path.read_text("utf-8"))]
    assert found == []


def test_every_form_that_changes_something_carries_a_token() -> None:
    forms = [
        (path, f) for path in TEMPLATES for f in re.findall(r"<form\b.*?</form>", path.read_text("utf-8"), re.DOTALL)
    ]
    assert forms
    for path, form in forms:
        assert 'method="post"' not in form or 'name="token" value="{{ form_token }}"' in form, path.name
