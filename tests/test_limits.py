"""The limits: defaults, where another is set, and that nonsense is refused in words."""

import dataclasses
from pathlib import Path

import pytest

from deepmusician import limits
from deepmusician.errors import OptionError
from deepmusician.limits import DEFAULTS, Limits

README = Path(__file__).parents[1] / "README.md"


def test_the_defaults_are_these():
    assert (DEFAULTS.file_bytes, DEFAULTS.notes, DEFAULTS.tracks) == (8_000_000, 200_000, 256)
    assert (DEFAULTS.beats, DEFAULTS.hours, DEFAULTS.render_minutes) == (20_000, 2, 10)
    assert (DEFAULTS.zip_files, DEFAULTS.zip_bytes, DEFAULTS.read_mb) == (1_000, 100_000_000, 512)


def test_without_settings_the_defaults_hold(home):
    assert limits.current() == DEFAULTS


def test_the_environment_comes_before_the_file_in_the_workspace(home, monkeypatch):
    home.mkdir()
    (home / "limits.toml").write_text("notes = 500_000\nhours = 3.5\n")
    assert limits.current() == Limits(notes=500_000, hours=3.5)
    monkeypatch.setenv("DEEPMUSICIAN_MAX_NOTES", "300")
    assert limits.current() == Limits(notes=300, hours=3.5)


@pytest.mark.parametrize("field", dataclasses.fields(Limits), ids=lambda f: f.name)
def test_each_limit_can_be_set_within_its_range(field, home, monkeypatch):
    low, high = field.metadata["low"], field.metadata["high"]
    monkeypatch.setenv(f"DEEPMUSICIAN_MAX_{field.name.upper()}", str(low))
    assert getattr(limits.current(), field.name) == low
    monkeypatch.setenv(f"DEEPMUSICIAN_MAX_{field.name.upper()}", str(high * 10))
    with pytest.raises(OptionError, match=f"the limit {field.name} must be .* got"):
        limits.current()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nodes = 3", "no limit called nodes .in .*limits.toml.; there are file_mb, notes"),
        ('notes = "many"', "notes must be a whole number, got 'many' in .*limits.toml"),
        ("tracks = true", "tracks must be a whole number, got True"),
        ("notes =", "limits.toml cannot be read .*; mend it, or delete it"),
    ],
)
def test_nonsense_in_the_file_is_told_in_words(text, words, home):
    home.mkdir()
    (home / "limits.toml").write_text(text)
    with pytest.raises(OptionError, match=words):
        limits.current()


def test_the_readmes_table_of_limits_is_the_programs_own():
    rows = [f"| `{f.name}` | {f.default:,g} | {f.metadata['help']} |" for f in dataclasses.fields(Limits)]
    assert "| limit | default | is the most … |\n|---|---|---|\n" + "\n".join(rows) + "\n" in README.read_text()
