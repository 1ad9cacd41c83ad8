"""Settings that are wrong are named, with where they stand and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from countersign.server.settings import BadSettings
from countersign.server.settings_reading import load


def written(directory: Path, text: str) -> Path:
    path = directory / "countersign.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processess = 3", "countersign.toml: unknown setting processess; did you mean processes?"),
        ("colour = 1", "countersign.toml: unknown setting colour; 'countersign settings' lists them all"),
        ("port =", "countersign.toml: Invalid value"),
        ('port = "x"', "port: expected int, got str"),
        ("port = 70000", "port: expected int <= 65535"),
        ('database = "mysql://host/name"', "database is a URL: sqlite:///absolute/path.db or postgresql://"),
        ('trusted_proxies = ["proxy.example"]', "trusted_proxies: proxy.example is neither an address nor a network"),
        ('trusted_proxies = ["::1", "10.0.0.1/8"]', "trusted_proxies: 10.0.0.1/8 is neither"),
        ('database = "countersign.db"', "database is a URL"),
    ],
)
def test_a_wrong_setting_in_the_file_is_named(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(BadSettings) as refused:
        load(written(tmp_path, text), {})
    assert expected in str(refused.value)


def test_a_wrong_setting_in_the_environment_is_named() -> None:
    with pytest.raises(BadSettings, match=r"COUNTERSIGN_PROCESES; did you mean processes\?"):
        load(None, {"COUNTERSIGN_PROCESES": "3"})


def test_environment_wins_over_the_file_and_overrides_over_both(tmp_path: Path) -> None:
    file = written(tmp_path, 'port = 1\nhost = "a"\nissuer = "file"')
    settings = load(file, {"COUNTERSIGN_HOST": "b", "COUNTERSIGN_ISSUER": "environment"}, {"issuer": "c", "port": None})
    assert (settings.port, settings.host, settings.issuer) == (1, "b", "c")
