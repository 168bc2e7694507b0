"""Small trees in the layout of each collection, and what each says of style and side."""

import pytest

from deepmusician.decisions import HELD_OUT, TRAINING
from deepmusician.errors import LibraryError
from deepmusician.fetch import collection, label, list_collections
from deepmusician.layouts import LAYOUTS, read_styles, told, write_styles

TRACK = "TRAAAGR128F425B14B"
TREES = {
    "maestro": {
        "2018/a.midi": ("Bach", TRAINING), "2018/b.midi": ("Chopin", HELD_OUT), "2004/c.midi": ("Bach", HELD_OUT),
    },
    "classical-archives": {
        "Classical Archives - The Greats (MIDI Library)/Bach/Chorales/a.mid": ("Bach", ""),
        "Mozart/b.mid": ("Mozart", ""), "c.mid": ("", ""),
    },
    "symbolic-music-data": {
        "SymbolicMusicMidiDataV1.1/JBM/train/a.mid": ("JBM", TRAINING),
        "SymbolicMusicMidiDataV1.1/CMA/Test/b.mid": ("CMA", HELD_OUT),
        "PMD/valid/c.mid": ("PMD", HELD_OUT), "MUS/d.mid": ("MUS", ""),
    },
    "video-game-music": {"video-game-music-90000-midi-files/NES/Zelda/a.mid": ("Zelda", ""), "b.mid": ("", "")},
    "vgmusic": {"console/nintendo/nes/a.mid": ("nes", ""), "computer/amiga/b.mid": ("amiga", "")},
    "bitmidi": {"uploads/Queen - Bohemian - Live.mid": ("Queen", ""), "uploads/123.mid": ("", "")},
    "lakh": {f"lmd_matched/A/A/A/{TRACK}/0123.mid": ("Adelitas Way", ""), "A/TRZZZZZ128F425B14B/4.mid": ("", "")},
    "magic-of-midi": {"The_Magic_of_MIDI/Jazz/a.mid": ("Jazz", ""), "b.mid": ("", "")},
}  # fmt: skip
TABLES = {
    "maestro": (
        "maestro-v3.0.0.csv",
        "canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration\n"
        "Bach,A,train,2018,2018/a.midi,2018/a.wav,1\nChopin,B,validation,2018,2018/b.midi,2018/b.wav,1\n"
        "Bach,C,test,2004,2004/c.midi,2004/c.wav,1\n",
    ),
    "lakh": ("unique_tracks.txt", f"{TRACK}<SEP>SOAAA<SEP>Adelitas Way<SEP>Hate Love\nbroken line\n"),
}


def tree(folder, name):
    for path in TREES[name]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"MThd")
    if name in TABLES:
        (folder / TABLES[name][0]).write_text(TABLES[name][1])
    return folder


@pytest.mark.parametrize("name", [each.name for each in list_collections()])
def test_each_collections_layout_tells_styles_and_sides(tmp_path, name):
    files, styles = label(collection(name), tree(tmp_path, name))
    said = read_styles(tmp_path)
    assert {path: said(path) for path in TREES[name]} == TREES[name]
    assert (files, styles) == (len(TREES[name]), len({style for style, _ in TREES[name].values()} - {""}))


def test_maestros_table_is_found_below_its_own_folder(tmp_path):
    (tmp_path / "maestro-v3.0.0").mkdir()
    tree(tmp_path / "maestro-v3.0.0", "maestro")
    label(collection("maestro"), tmp_path)
    assert read_styles(tmp_path)("maestro-v3.0.0/2018/b.midi") == ("Chopin", HELD_OUT)


def test_maestro_without_its_table_is_refused(tmp_path):
    with pytest.raises(LibraryError, match=r"has no table maestro-….csv"):
        LAYOUTS["maestro"](tmp_path, ())


def test_lakh_without_the_list_of_tracks_has_no_styles(tmp_path):
    assert LAYOUTS["track"](tmp_path, ())(f"A/{TRACK}/0.mid") == ("", "")


def test_hidden_files_and_what_is_no_music_are_left_out(tmp_path):
    for name in (".hidden/a.mid", "._b.mid", "c.txt", "d.mid"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert write_styles(tmp_path, lambda path: (path, "")) == (1, 1)


def test_a_folder_without_styles_says_nothing(tmp_path):
    assert told(tmp_path) is None


@pytest.mark.parametrize(
    "text, said",
    [
        ("path,style,side\na.mid,x,left\n", "line 2 .*side must be training, held out or nothing, got 'left'"),
        ("file,genre\n", "must have the columns path, style"),
    ],
)
def test_a_styles_csv_that_is_wrong_is_told_with_its_line(tmp_path, text, said):
    (tmp_path / "styles.csv").write_text(text)
    with pytest.raises(LibraryError, match=said):
        told(tmp_path)


def test_a_person_may_write_styles_without_sides(tmp_path):
    (tmp_path / "styles.csv").write_text("path,style\nmine/a.mid,jazz\nb.mid,AC/DC | live\n")
    assert told(tmp_path)("mine/a.mid") == ("jazz", "")
    assert told(tmp_path)("b.mid") == ("AC and DC live", "")  # / and | part names
