"""The cache of fetched components: where it is, and that nothing half done is ever in it."""

from pathlib import Path

import pytest

from pipeline.embedded import components
from schemas.errors import ComponentMissing


def test_the_cache_is_where_it_is_told_or_in_the_home_directory() -> None:
    assert components.cache({"DRIFTLOCK_CACHE": "/x/y", "HOME": "/h"}) == Path("/x/y")
    assert components.cache({"HOME": "/h"}) == Path("/h/.cache/driftlock")
    assert components.cache({"HOME": ""}).is_absolute()


@pytest.mark.parametrize(
    ("said", "version"), [("17.0.15+6-Debian-1deb12u1", "17.0.15+6-Debian-1deb12u1"), ("21+35", "21+35")]
)
def test_a_java_that_is_new_enough_is_found(tmp_path: Path, said: str, version: str) -> None:
    program = _java(tmp_path, said)
    assert components.java({"PATH": str(tmp_path)}) == components.Java(str(program), version)


@pytest.mark.parametrize("said", ["1.8.0_412-b08", "11.0.2+9", "none"])
def test_an_old_or_broken_java_is_none(tmp_path: Path, said: str) -> None:
    _java(tmp_path, said)
    assert components.java({"PATH": str(tmp_path)}) is None


def test_java_home_comes_before_the_path(tmp_path: Path) -> None:
    (tmp_path / "home" / "bin").mkdir(parents=True)
    program = _java(tmp_path / "home" / "bin", "21.0.1+12")
    _java(tmp_path, "17.0.15+6")
    found = components.java({"PATH": str(tmp_path), "JAVA_HOME": str(tmp_path / "home")})
    assert found == components.Java(str(program), "21.0.1+12")


def test_without_the_tools_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DRIFTLOCK_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ComponentMissing, match="needs Maven"):
        components.fetch_kafka()


def test_a_build_that_fails_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path / "mvn", "echo '[ERROR] no such artifact'; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("DRIFTLOCK_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ComponentMissing, match=r"fetching Apache Kafka by Maven failed: .*no such artifact"):
        components.fetch_kafka()
    assert components.kafka_jars() is None
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_jars_that_differ_from_the_committed_sums_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path / "mvn", "echo something else > kafka_2.13-4.4.0.jar")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("DRIFTLOCK_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ComponentMissing, match=r"differ from kafka.sha256: .*kafka_2.13-4.4.0.jar"):
        components.fetch_kafka()
    assert components.kafka_jars() is None


def test_of_two_at_once_one_is_kept_whole(tmp_path: Path) -> None:
    place = tmp_path / "component"
    with components.making(place) as first:
        (first / "a").write_text("first")
        with components.making(place) as second:
            (second / "a").write_text("second")
        assert (place / "a").read_text() == "second"
    assert (place / "a").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["component"]


def _java(folder: Path, version: str) -> Path:
    return _program(folder / "java", f"echo '    java.runtime.version = {version}' >&2")


def _program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
