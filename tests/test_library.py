import json
import os
import stat
import struct
import zipfile
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmusician.errors import DiskFullError, LibraryError
from deepmusician.library import (
    DataSet,
    Entry,
    delete_data_set,
    list_data_sets,
    load_data_set,
    read_source,
    read_sources,
    read_uploads,
    save_data_set,
    source_of,
    split_paths,
)
from deepmusician.notes import KEY, METER, NOTE, TEMPO, Song, Track


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def midi(pitch=60):
    """A crotchet on one key."""
    return bytes.fromhex(
        "4d 54 68 64 00 00 00 06 00 00 00 01 00 60"  # MThd, format 0, 1 track, 96 ticks a beat
        "4d 54 72 6b 00 00 00 0c"  # MTrk, 12 bytes
        f"00 90 {pitch:02x} 40"  # note on
        f"60 80 {pitch:02x} 40"  # note off 96 ticks later
        "00 ff 2f 00"  # end of track
    )


def silent_midi():
    return bytes.fromhex(
        "4d 54 68 64 00 00 00 06 00 00 00 01 00 60"  # MThd, format 0, 1 track
        "4d 54 72 6b 00 00 00 04"  # MTrk, 4 bytes
        "00 ff 2f 00"  # end of track
    )


def tunes(count):
    return "".join(f"X:{i}\nT:Tune {i}\nM:4/4\nL:1/4\nK:C\nCDEF|]\n\n" for i in range(1, count + 1)).encode()


def zipped(files, **options):
    target = BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return target.getvalue()


def pitches(data):
    return [song.notes["pitch"].tolist() for song in data.songs]


def table(data):
    return [(entry.name, entry.status) for entry in data.entries]


# ---- uploads


def test_good_upload_is_kept():
    data = read_uploads([("a.mid", midi(60))], name="mine")
    assert (data.name, data.names) == ("mine", ("a.mid",))
    assert data.entries[0].status == "kept"
    assert data.entries[0].reason == ""
    assert pitches(data) == [[60]]


def test_broken_upload_is_refused_with_a_reason_and_the_others_are_read():
    data = read_uploads([("bad.mid", b"<!DOCTYPE html>"), ("empty.mid", b""), ("good.mid", midi())])
    assert table(data) == [("bad.mid", "refused"), ("empty.mid", "refused"), ("good.mid", "kept")]
    assert all(len(entry.reason) > 10 for entry in data.entries[:2])
    assert data.names == ("good.mid",)


@pytest.mark.parametrize("cut", range(1, len(midi()), 3))
def test_upload_cut_short_never_raises(cut):
    data = read_uploads([("cut.mid", midi()[:cut])])
    assert len(data.entries) == 1
    assert data.entries[0].status != "kept"


def test_song_without_notes_is_refused():
    (entry,) = read_uploads([("quiet.mid", silent_midi())]).entries
    assert entry.status == "refused"
    assert "holds no notes" in entry.reason


def test_reason_does_not_say_the_name_again():
    (entry,) = read_uploads([("songs/cut.mid", midi()[:20])]).entries
    assert "cut.mid" not in entry.reason


def test_mended_file_is_repaired_and_says_what_was_mended():
    hanging = midi().replace(bytes.fromhex("60 80 3c 40"), bytes.fromhex("60 90 40 40"))  # note off becomes E4 on
    (entry,) = read_uploads([("hanging.mid", hanging)]).entries
    assert entry.status == "repaired"
    assert entry.reason == "; ".join(entry.song.repairs)
    assert entry.reason


def test_file_of_another_kind_is_refused():
    (entry,) = read_uploads([("cover.jpg", b"\xff\xd8\xff\xe0 not music")]).entries
    assert entry.status == "refused"


def test_same_names_are_kept_apart():
    data = read_uploads([("a.mid", midi(60)), ("a.mid", midi(62)), ("a.mid", midi(64))])
    assert data.names == ("a.mid", "a.mid (2)", "a.mid (3)")
    assert pitches(data) == [[60], [62], [64]]


def test_each_tune_of_a_tune_book_is_an_entry():
    data = read_uploads([("book.abc", tunes(3))])
    assert data.names == ("book.abc 1 Tune 1", "book.abc 2 Tune 2", "book.abc 3 Tune 3")


def test_name_with_control_characters_fits_on_one_line():
    (entry,) = read_uploads([("evil\n\x1b[31m\udc80.mid", midi())]).entries
    assert entry.name.isprintable()


def test_progress_counts_every_file():
    seen = []
    read_uploads([(f"{i}.mid", midi()) for i in range(3)], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


# ---- archives


def test_zip_is_opened_and_what_systems_leave_in_it_ignored():
    files = [
        ("b/two.mid", midi(62)),
        ("one.mid", midi(60)),
        ("__MACOSX/._one.mid", b"x"),
        (".DS_Store", b"x"),
    ]
    data = read_uploads([("all.ZIP", zipped(files))])
    assert data.names == ("b/two.mid", "one.mid")


def test_progress_counts_the_files_within_a_zip():
    seen = []
    read_uploads([("z.zip", zipped([("a.mid", midi()), ("b.mid", midi())]))], progress=lambda *at: seen.append(at))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_same_name_twice_in_a_zip_is_two_songs():
    data = read_uploads([("z.zip", zipped([("a.mid", midi(60)), ("a.mid", midi(62))]))])
    assert data.names == ("a.mid", "a.mid (2)")
    assert pitches(data) == [[60], [62]]


def test_zip_of_too_many_files_is_refused_as_one(monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_MAX_ZIP_FILES", "2")
    (entry,) = read_uploads([("z.zip", zipped([(f"{i}.mid", midi()) for i in range(3)]))]).entries
    assert (entry.name, entry.status) == ("z.zip", "refused")
    assert "holds 3 files, at most 2" in entry.reason


def test_the_default_limit_is_a_thousand_files():
    data = read_uploads([("z.zip", zipped([(f"{i}.txt", b"") for i in range(1001)]))])
    assert "holds 1,001 files, at most 1,000" in data.entries[0].reason


def test_bomb_is_stopped_while_it_inflates(monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_MAX_ZIP_MB", "1")
    bomb = zipped([("first.mid", midi()), ("bomb.mid", bytes(50_000_000)), ("last.mid", midi())])
    data = read_uploads([("z.zip", bomb)])
    assert table(data) == [("first.mid", "kept"), ("bomb.mid", "refused"), ("last.mid", "refused")]
    assert "inflates to more than 1 MB" in data.entries[1].reason


def test_header_that_understates_its_size_does_not_help_a_bomb(monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_MAX_ZIP_MB", "1")
    bomb = bytearray(zipped([("bomb.mid", bytes(5_000_000))]))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # uncompressed size, both headers
        struct.pack_into("<I", bomb, bomb.index(signature) + offset, 10)
    (entry,) = read_uploads([("z.zip", bytes(bomb))]).entries
    assert entry.status == "refused"


def test_zip_within_a_zip_is_refused():
    data = read_uploads([("z.zip", zipped([("in.zip", zipped([("a.mid", midi())])), ("b.mid", midi())]))])
    assert table(data) == [("in.zip", "refused"), ("b.mid", "kept")]
    assert "archive within an archive" in data.entries[0].reason


@pytest.mark.parametrize("name", ["../out.mid", "/etc/out.mid", "a/../../out.mid", "..\\out.mid", "C:\\out.mid"])
def test_path_that_leads_out_of_the_archive_is_refused(name):
    (entry,) = read_uploads([("z.zip", zipped([(name, midi())]))]).entries
    assert "leads out of the archive" in entry.reason


def test_link_in_an_archive_is_refused():
    info = zipfile.ZipInfo("link.mid")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    (entry,) = read_uploads([("z.zip", zipped([(info, b"/etc/passwd")]))]).entries
    assert "is a link" in entry.reason


def test_encrypted_file_is_refused():
    locked = bytearray(zipped([("a.mid", midi())]))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag bits, both headers
        locked[locked.index(signature) + offset] |= 1
    (entry,) = read_uploads([("z.zip", bytes(locked))]).entries
    assert "encrypted" in entry.reason


def test_damaged_member_is_refused_and_the_rest_is_read():
    damaged = bytearray(zipped([("a.mid", midi(60)), ("b.mid", midi(62))]))
    start = damaged.index(b"a.mid") + len(b"a.mid")
    damaged[start : start + 4] = b"\xff" * 4
    data = read_uploads([("z.zip", bytes(damaged))])
    assert table(data) == [("a.mid", "refused"), ("b.mid", "kept")]


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"no zip at all", zipped([("a.mid", b"x")])[:-30]], ids=["empty", "PK", "words", "cut"]
)
def test_file_that_only_calls_itself_zip_is_refused(content):
    (entry,) = read_uploads([("z.zip", content)]).entries
    assert "not a readable zip" in entry.reason


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_archive_with_any_bytes_changed_never_raises(data):
    content = bytearray(zipped([("a.mid", midi(60)), ("b.mid", midi(62))]))
    places = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    for place, value in data.draw(st.lists(places, min_size=1, max_size=4)):
        content[place] = value
    cut = data.draw(st.integers(0, len(content)))
    for damaged in (content, content[:cut], content[cut:]):
        for entry in read_uploads([("z.zip", bytes(damaged))]).entries:
            assert (entry.song is None) == (entry.status == "refused")


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_cannot_be_bounded_is_refused(kind):
    target = BytesIO()
    with zipfile.ZipFile(target, "w", kind) as archive:
        archive.writestr("a.mid", midi())
    (entry,) = read_uploads([("z.zip", target.getvalue())]).entries
    assert "compressed in an unusual way" in entry.reason


def test_empty_zip_is_refused():
    (entry,) = read_uploads([("z.zip", zipped([]))]).entries
    assert entry.reason == "the archive is empty"


# ---- sources


def test_single_file_is_read(tmp_path):
    (tmp_path / "a.mid").write_bytes(midi())
    data = read_source(tmp_path / "a.mid")
    assert (data.name, data.names) == ("a.mid", ("a.mid",))


def test_folder_is_read_with_all_below_it_in_order(tmp_path):
    folder = tmp_path / "songs"
    (folder / "b" / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name, pitch in [
        ("z.mid", 60),
        ("b/deep/a.mid", 62),
        ("b/c.mid", 64),
        (".hidden/x.mid", 1),
        (".x.mid", 1),
    ]:
        (folder / name).write_bytes(midi(pitch))
    data = read_source(str(folder))
    assert data.name == "songs"
    assert data.names == ("b/c.mid", "b/deep/a.mid", "z.mid")


def test_zip_in_a_folder_and_on_its_own_is_opened(tmp_path):
    (tmp_path / "z.zip").write_bytes(zipped([("a.mid", midi())]))
    assert read_source(tmp_path / "z.zip").names == read_source(tmp_path).names == ("a.mid",)


def test_linked_folder_is_read_and_a_link_that_leads_back_is_not_followed_for_ever(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.mid").write_bytes(midi())
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "songs" / "back").symlink_to(tmp_path / "songs")
    assert read_source(tmp_path / "songs").names == ("link/a.mid",)


def test_what_is_closed_to_us_is_listed_as_refused(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.mid").write_bytes(midi())
    (tmp_path / "gone.mid").symlink_to(tmp_path / "nowhere")
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    data = read_source(tmp_path)
    assert table(data) == [("a.mid", "kept"), ("closed", "refused"), ("gone.mid", "refused")]
    assert data.entries[1].reason == "it is a folder that cannot be opened"


@pytest.mark.parametrize("source", ["x" * 5000, "a\0b", "~nobody-of-that-name/x", ""])
def test_impossible_path_is_not_found_in_one_line(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LibraryError, match="no file, folder, corpus or data set"):
        read_source(source)


def test_what_is_not_music_in_a_folder_is_listed_as_refused(tmp_path):
    (tmp_path / "README.txt").write_text("hello")
    (tmp_path / "a.mid").write_bytes(midi())
    assert table(read_source(tmp_path)) == [("README.txt", "refused"), ("a.mid", "kept")]


def test_enormous_file_is_refused_unread(tmp_path):
    with (tmp_path / "huge.mid").open("wb") as file:
        file.truncate(200_000_000)  # sparse: takes no disk
    (tmp_path / "a.mid").write_bytes(midi())
    assert "at most 8,000,000 bytes, got 200,000,000" in read_source(tmp_path).entries[1].reason


def test_unknown_source_suggests_a_close_corpus():
    with pytest.raises(LibraryError, match=r"called bach-choral; did you mean bach-chorales"):
        read_source("bach-choral")


def test_unknown_source_suggests_a_close_data_set():
    save_data_set(read_uploads([("a.mid", midi())]), "My sonatas")
    with pytest.raises(LibraryError, match="did you mean My sonatas"):
        read_source("my sonata")


def test_unknown_source_without_a_likeness_lists_the_corpora():
    with pytest.raises(LibraryError, match=r"no file, folder, corpus or data set is called /x/y; built-in.*palestrina"):
        read_source("/x/y")


def test_empty_folder_is_refused(tmp_path):
    (tmp_path / "sub").mkdir()
    with pytest.raises(LibraryError, match=f"{tmp_path} holds no files"):
        read_source(tmp_path)


def test_nothing_readable_quotes_the_first_reasons_on_one_line(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.mid").write_bytes(b"not midi")
    with pytest.raises(
        LibraryError, match=r"nothing in .* \(0\.mid: .*; 1\.mid: .*; 2\.mid: .* and 2 more\)"
    ) as caught:
        read_source(tmp_path)
    assert "\n" not in str(caught.value)


def test_saved_data_set_is_a_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_data_set(read_uploads([("a.mid", midi(61))]), "mine")
    assert pitches(read_source("mine")) == [[61]]


def test_folder_comes_before_a_data_set_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_data_set(read_uploads([("a.mid", midi(61))]), "mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "b.mid").write_bytes(midi(72))
    assert pitches(read_source("mine")) == [[72]]
    assert source_of("mine") == "library:mine" and source_of("bach-chorales") == "bach-chorales"
    assert pitches(read_source("library:mine")) == [[61]]
    with pytest.raises(LibraryError, match="yours"):
        read_source("library:yours")


# ---- several sources


def test_several_sources_are_joined_by_a_bar_and_count_once_each():
    assert split_paths("bach-chorales") == ["bach-chorales"]
    assert split_paths("a | b|a||c d") == ["a", "b", "c d"]


def test_file_with_a_bar_in_its_name_is_one_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a|b.mid").write_bytes(midi())
    assert split_paths("a|b.mid") == ["a|b.mid"]
    ((name, data),) = read_sources("a|b.mid")
    assert (name, data.names) == ("a b", ("a|b.mid",))


def test_each_source_is_called_by_a_short_name_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("x/airs", "y/airs", "Op. 9"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.mid").write_bytes(midi())
    (tmp_path / "tunes.ZIP").write_bytes(zipped([("a.mid", midi(62))]))
    (tmp_path / "one.mid").write_bytes(midi(64))
    save_data_set(read_uploads([("a.mid", midi(61))]), "mine")
    sources = read_sources("x/airs|y/airs/|Op. 9|tunes.ZIP|one.mid|library:mine")
    assert [name for name, _ in sources] == ["airs", "airs-2", "Op. 9", "tunes", "one", "mine"]
    assert [pitches(data) for _, data in sources] == [[[60]], [[60]], [[60]], [[62]], [[64]], [[61]]]


def test_name_of_a_source_is_free_of_the_signs_that_mixes_are_written_with(tmp_path):
    (tmp_path / "Bach, J.S.: 1>2").mkdir()
    (tmp_path / "Bach, J.S.: 1>2" / "a.mid").write_bytes(midi())
    assert read_sources(str(tmp_path / "Bach, J.S.: 1>2"))[0][0] == "Bach J.S. 1 2"


@pytest.mark.parametrize("path", ["", "|", "x.mid|nowhere"])
def test_source_that_is_not_there_is_refused_among_others_too(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.mid").write_bytes(midi())
    with pytest.raises(LibraryError, match="no file, folder, corpus or data set"):
        read_sources(path)


# ---- saved data sets


def rich_song():
    """A song in which no field has its default."""
    notes = np.array([(0, 1 / 3, 60, 1, 40, False, 1), (1 / 3, 2, 35, 127, 0, True, 2)], NOTE)
    return Song(
        notes,
        ticks_per_beat=96,
        tempos=np.array([(0, 61.5), (2, 59.9)], TEMPO),
        meters=np.array([(0, 3, 8)], METER),
        keys=np.array([(0, -3, True)], KEY),
        tracks=(Track(), Track("Violin é\udc80", 40), Track("Kit", 0, True)),
        title="Air\n\u2028",
        repairs=("one note was closed", "a tempo of 0 was dropped"),
    )


def test_saved_data_set_comes_back_whole():
    entries = (
        Entry.of("rich.mid", rich_song()),
        Entry.refused("bad.mid", "it is not MIDI"),
        Entry.of("plain.mid", Song.from_notes([(0, 1, 60), (1, 2, 62)])),
    )
    save_data_set(DataSet("upload", entries), "Sonatas no. 1-3")
    back = load_data_set("Sonatas no. 1-3")
    assert [(e.name, e.status, e.reason) for e in back.entries] == [(e.name, e.status, e.reason) for e in entries]
    for song, expected in zip(back.songs, (entries[0].song, entries[2].song), strict=True):
        for field in ("notes", "tempos", "meters", "keys"):
            np.testing.assert_array_equal(getattr(song, field), getattr(expected, field))
        for field in ("ticks_per_beat", "tracks", "title", "repairs"):
            assert getattr(song, field) == getattr(expected, field)


def test_saving_again_replaces_and_leaves_nothing_behind(home):
    save_data_set(read_uploads([("a.mid", midi(60)), ("b.mid", midi(61))]), "mine")
    save_data_set(read_uploads([("c.mid", midi(62))]), "mine")
    assert load_data_set("mine").names == ("c.mid",)
    assert [path.name for path in (home / "library").iterdir()] == ["mine"]


def test_failed_saving_leaves_the_old_data_set_as_it_was(home, monkeypatch):
    save_data_set(read_uploads([("a.mid", midi(60))]), "mine")

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(DiskFullError, match="the disk is full: free"):
        save_data_set(read_uploads([("b.mid", midi(61))]), "mine")
    assert load_data_set("mine").names == ("a.mid",)
    assert [path.name for path in (home / "library").iterdir()] == ["mine"]


def test_data_sets_are_listed_sorted_and_deleted():
    for name in ("b", "a", "Été 1"):
        save_data_set(read_uploads([("a.mid", midi())]), name)
    assert list_data_sets() == ["a", "b", "Été 1"]
    delete_data_set("b")
    assert list_data_sets() == ["a", "Été 1"]
    with pytest.raises(LibraryError, match="data set is called b"):
        delete_data_set("b")


def test_loading_a_data_set_that_is_not_there_suggests_another():
    save_data_set(read_uploads([("a.mid", midi())]), "sonatas")
    with pytest.raises(LibraryError, match="did you mean sonatas"):
        load_data_set("sonata")


@pytest.mark.parametrize("name", ["", ".hidden", "-rf", "a/b", "..", "a\\b", "a\n", "end.", "end ", "x" * 81, "a:b"])
def test_name_that_could_leave_the_library_is_refused(name):
    with pytest.raises(LibraryError, match="name must be 1 to 80"):
        save_data_set(read_uploads([("a.mid", midi())]), name)
    with pytest.raises(LibraryError, match="name must be 1 to 80"):
        delete_data_set(name)


def test_name_of_a_corpus_is_taken():
    with pytest.raises(LibraryError, match="palestrina is the name of a built-in corpus"):
        save_data_set(read_uploads([("a.mid", midi())]), "palestrina")


def test_data_set_without_songs_is_not_saved():
    with pytest.raises(LibraryError, match="holds no songs"):
        save_data_set(read_uploads([("a.mid", b"")]), "mine")


def corrupt_catalogue(folder, **changes):
    catalogue = json.loads((folder / "catalogue.json").read_text())
    catalogue["entries"][0] |= changes
    (folder / "catalogue.json").write_text(json.dumps(catalogue))


@pytest.mark.parametrize("changes", [{"count": 99}, {"offset": -1}, {"tempos": "x"}, {"tracks": []}, {"count": "1"}])
def test_damaged_catalogue_is_refused_in_one_line(changes):
    corrupt_catalogue(save_data_set(read_uploads([("a.mid", midi())]), "mine"), **changes)
    with pytest.raises(LibraryError, match=r"mine is damaged .*import it again"):
        load_data_set("mine")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not numpy"])
def test_damaged_notes_are_refused_in_one_line(content):
    (save_data_set(read_uploads([("a.mid", midi())]), "mine") / "notes.npy").write_bytes(content)
    with pytest.raises(LibraryError, match="mine is damaged"):
        load_data_set("mine")


def test_notes_of_another_kind_are_refused():
    np.save(save_data_set(read_uploads([("a.mid", midi())]), "mine") / "notes.npy", np.zeros(5))
    with pytest.raises(LibraryError, match=r"mine is damaged .*float64"):
        load_data_set("mine")


def test_pickled_notes_are_never_loaded():
    folder = save_data_set(read_uploads([("a.mid", midi())]), "mine")
    np.save(folder / "notes.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(LibraryError, match="mine is damaged"):
        load_data_set("mine")


def test_data_set_of_a_later_form_is_refused():
    folder = save_data_set(read_uploads([("a.mid", midi())]), "mine")
    (folder / "catalogue.json").write_text('{"form": 2, "entries": []}')
    with pytest.raises(LibraryError, match="form 2, not 1"):
        load_data_set("mine")
