from pathlib import Path

import pytest

from deepmusician.errors import LibraryError
from deepmusician.workspace import cache_dir, workspace


def test_workspace_is_the_folder_the_variable_names(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(tmp_path / "deep" / "home"))
    assert workspace() == tmp_path / "deep" / "home"
    assert workspace().is_dir()


def test_workspace_is_beside_the_person_where_nothing_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("DEEPMUSICIAN_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert workspace() == tmp_path / "workspace"
    assert workspace().is_absolute()


def test_tilde_in_the_variable_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DEEPMUSICIAN_HOME", "~/music")
    assert workspace() == Path(tmp_path / "music")


def test_cache_lies_in_the_workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "cache"
    assert cache_dir().is_dir()


def test_workspace_that_is_a_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(tmp_path / "file"))
    with pytest.raises(LibraryError, match="DEEPMUSICIAN_HOME"):
        workspace()
