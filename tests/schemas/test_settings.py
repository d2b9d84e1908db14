"""Settings: all errors at once, secrets from files, never shown."""

from pathlib import Path

import pytest

from schemas import settings
from schemas.errors import SettingsError


def test_defaults_need_nothing() -> None:
    assert settings.load({}).port == 8080


def test_all_errors_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        settings.load({"PORT": "eighty", "SENSITIVITY": "2", "STRIPE_API_KEY_FILE": "/nowhere/key"})
    for name in ("PORT", "SENSITIVITY", "STRIPE_API_KEY_FILE"):
        assert name in str(raised.value)


def test_a_secret_comes_from_a_file_and_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("rk_test_hidden\n")
    loaded = settings.load({"STRIPE_API_KEY_FILE": str(tmp_path / "key")})
    assert loaded.stripe_api_key.get_secret_value() == "rk_test_hidden"
    assert "hidden" not in repr(loaded)


def test_a_wrong_secret_is_not_repeated_in_the_error() -> None:
    with pytest.raises(SettingsError) as raised:
        settings.load({"STRIPE_API_KEY": "rk_test_hidden", "PORT": "-1"})  # pragma: allowlist secret
    assert "hidden" not in str(raised.value)


def test_the_machines_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1")
    assert settings.load({}).port == 8080


def test_the_example_names_every_setting_and_holds_no_secret() -> None:
    text = settings.env_example()
    assert all(f"\n{name.upper()}=" in text for name in settings.Settings.model_fields)
    assert all(f"\n{name.upper()}=\n" in text for name in settings.SECRETS)
