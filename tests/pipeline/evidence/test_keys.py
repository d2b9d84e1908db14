"""Files of keys: written once, for their owner alone; a trust file says what is wrong with it."""

import base64
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.evidence import keys
from schemas.errors import SettingsError
from schemas.settings import Settings, load
from tests.pipeline.evidence.cases import KEY, OTHER_KEY


def test_a_key_file_is_what_the_setting_reads(tmp_path: Path) -> None:
    file = tmp_path / "key"
    keys.write_new(file, KEY)
    assert file.stat().st_mode & 0o777 == 0o600
    settings = load({"EVIDENCE_SIGNING_KEY_FILE": str(file)})
    assert keys.public(keys.signing_key(settings)) == keys.public(KEY)
    with pytest.raises(SettingsError, match="File exists"):
        keys.write_new(file, OTHER_KEY)
    with pytest.raises(SettingsError, match="No such file"):
        keys.write_new(tmp_path / "none" / "key", KEY)


@pytest.mark.parametrize("text", ["", "x", base64.b64encode(b"short").decode()])
def test_what_is_no_key_is_said_and_not_shown(text: str) -> None:
    with pytest.raises(SettingsError, match="driftlock evidence keygen") as refused:
        keys.signing_key(Settings(evidence_signing_key=SecretStr(text)))
    assert "c2hvcnQ" not in str(refused.value)


def test_a_trust_file(tmp_path: Path) -> None:
    file = tmp_path / "trust"
    file.write_text(f"# ours\n\n{keys.public(KEY)}  # since May\n{keys.public(OTHER_KEY).upper()}\n", "utf-8")
    assert keys.trusted(file) == {keys.public(KEY), keys.public(OTHER_KEY)}
    file.write_text(f"{keys.public(KEY)}\nabc\n", "utf-8")
    with pytest.raises(SettingsError, match="line 2: a public key has 64 hex digits"):
        keys.trusted(file)
    with pytest.raises(SettingsError, match="can't be read"):
        keys.trusted(tmp_path / "none")
