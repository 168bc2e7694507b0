"""What is written where a person says: whole or as before, through links, and into what is no file."""

import errno
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import scale_song

from deepmusician.atomic import write_output
from deepmusician.cli import main
from deepmusician.errors import DiskFullError, MidiError, RenderError
from deepmusician.midi import write_midi
from deepmusician.render import Audio, encode, write_audio
from tests.full_disk import full_at

SONG = scale_song(60, 8)
SOUND = Audio(np.zeros((4_410, 2), np.float32), 44_100)
WRITERS = {
    "midi": (lambda path: write_midi(SONG, path), lambda: write_midi(SONG)),
    "wav": (lambda path: write_audio(SOUND, path), lambda: encode(SOUND, "wav")),
    "ogg": (lambda path: write_audio(SOUND, path), None),  # another serial number each time
    "csv": (lambda path: write_output(path, "a,b"), lambda: b"a,b"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_that_is_there_is_whole_wherever_the_disk_is_full(tmp_path, kind):
    path, (write, content) = tmp_path / f"mine.{kind}", WRITERS[kind]
    path.write_bytes(b"before")
    for nth in (1, 2):  # to flush it, to rename it
        with pytest.raises(DiskFullError, match="the disk is full: free 10 MB"), full_at(nth):
            write(path)
        assert path.read_bytes() == b"before" and os.listdir(tmp_path) == [path.name]
    write(path)
    assert content is None or path.read_bytes() == content()
    assert os.listdir(tmp_path) == [path.name]


def test_a_file_that_is_there_is_whole_where_writing_ends_in_the_middle(tmp_path, monkeypatch):
    path = tmp_path / "mine.mid"
    path.write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_midi(SONG, path)
    assert path.read_bytes() == b"before"


def test_a_link_goes_on_leading_where_it_led(tmp_path):
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "a.mid", tmp_path / "a.mid"
    target.write_bytes(b"before")
    link.symlink_to(target)
    write_midi(SONG, link)
    assert link.is_symlink() and target.read_bytes() == write_midi(SONG)


def test_a_file_stays_as_closed_as_it_was(tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(b"before")
    path.chmod(0o600)
    write_midi(SONG, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_no_file_is_written_into(tmp_path):
    write_output(Path(os.devnull), b"x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_midi(SONG, pipe)
    reader.join(10)
    assert got == [write_midi(SONG)] and stat.S_ISFIFO(pipe.stat().st_mode)


def test_where_nothing_can_be_written_it_is_said(tmp_path, monkeypatch, capsys):
    with pytest.raises(MidiError, match="cannot be written: Is a directory; choose another place"):
        write_midi(SONG, tmp_path)
    with pytest.raises(RenderError, match=r"cannot write .* choose another folder or name"):
        write_audio(SOUND, tmp_path / "gone" / "a.wav")

    def closed(*_):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("deepmusician.flags.write_output", closed)
    monkeypatch.setattr("deepmusician.parcels.export_data_set", lambda name: b"x")
    assert main(["library", "mine", "--export", str(tmp_path / "x.zip")]) == 2
    assert "x.zip cannot be written (Permission denied); choose another place" in capsys.readouterr().err
    assert main(["library", "mine", "--export", str(tmp_path / "gone" / "x.zip")]) == 2
    assert "does not exist; make it first" in capsys.readouterr().err
