import zipfile
from io import BytesIO

import pytest
from midi_hex import midi_file, rows

from deepmusician import formats
from deepmusician.errors import MidiError
from deepmusician.formats import read_song, read_songs, song_from_music21

CDEF = [(0, 1, 60), (1, 1, 62), (2, 1, 64), (3, 1, 65)]
MIDI = midi_file(" ".join(f"00 90 {pitch:02x} 40 83 60 80 {pitch:02x} 00" for _, _, pitch in CDEF))
ABC = b"X:1\nT:Four notes\nM:4/4\nL:1/4\nQ:1/4=100\nK:C\nCDEF|\n"
KRN = b"**kern\n*M4/4\n*k[]\n=1\n4c\n4d\n4e\n4f\n==\n*-\n"


def note(step, octave=4, duration=4, alter=0, more="", before="") -> str:
    alter = f"<alter>{alter}</alter>" if alter else ""
    pitch = f"<pitch><step>{step}</step>{alter}<octave>{octave}</octave></pitch>"
    length = f"<duration>{duration}</duration>" if duration else ""
    return f"<note>{before}{pitch}{length}<voice>1</voice>{more}</note>"


def direction(what) -> str:
    return f"<direction><direction-type>{what}</direction-type></direction>"


def attributes(beats=4, beat_type=4, fifths=0, mode="major", more="") -> str:
    key = f"<key><fifths>{fifths}</fifths><mode>{mode}</mode></key>"
    time = f"<time><beats>{beats}</beats><beat-type>{beat_type}</beat-type></time>"
    return f"<attributes><divisions>4</divisions>{key}{time}{more}</attributes>"


def musicxml(*parts: list[str], names=(), instruments="", title="") -> bytes:
    """A score of parts, each a list of the contents of its measures; four divisions a beat."""
    names = [*names, *["Part"] * (len(parts) - len(names))]
    listed = "".join(
        f'<score-part id="P{i}"><part-name>{name}</part-name>{instruments}</score-part>' for i, name in enumerate(names)
    )
    body = "".join(
        f'<part id="P{i}">'
        + "".join(f'<measure number="{k}">{measure}</measure>' for k, measure in enumerate(part, 1))
        + "</part>"
        for i, part in enumerate(parts)
    )
    work = f"<work><work-title>{title}</work-title></work>"
    return f'<score-partwise version="4.0">{work}<part-list>{listed}</part-list>{body}</score-partwise>'.encode()


XML = musicxml([attributes() + "".join(note(step) for step in "CDEF")])
TIE, STOP = '<tie type="start"/>', '<tie type="stop"/>'
SEMIBREVE_C = attributes() + note("C", duration=16)


def zipped(**files: bytes) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


# --- which notation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (MIDI, "a.mid"),
        (XML, "a.musicxml"),
        (XML, "a.XML"),
        (ABC, "a.abc"),
        (KRN, "a.krn"),
        (zipped(**{"s.xml": XML}), "a.mxl"),
    ],
)
def test_the_same_tune_is_the_same_in_every_notation_with_and_without_its_name(data, name):
    assert rows(read_song(data, name)) == CDEF
    assert rows(read_song(data)) == CDEF


def test_a_path_tells_the_format_by_its_suffix(tmp_path):
    path = tmp_path / "tune.abc"
    path.write_bytes(ABC)
    assert [rows(song) for song in read_songs(str(path))] == [CDEF]


def test_a_compressed_score_is_found_through_its_container():
    container = b'<container><rootfiles><rootfile full-path="deep/score.xml"/></rootfiles></container>'
    data = zipped(**{"META-INF/container.xml": container, "a.xml": b"<nothing/>", "deep/score.xml": XML})
    assert rows(read_song(data)) == CDEF


def test_utf_16_scores_are_read_as_they_declare_themselves():
    text = '<?xml version="1.0" encoding="UTF-16"?>' + XML.decode()
    assert rows(read_song(text.encode("utf-16"))) == CDEF
    with pytest.raises(MidiError, match="declares no entities"):
        read_song(('<!DOCTYPE x [<!ENTITY a "b">]>' + text).encode("utf-16"), "a.xml")


# --- what is written, and what sounds -----------------------------------------------------------------------------


def test_tie_across_barline_stays_one_note():
    song = read_song(musicxml([attributes() + note("C", duration=16, more=TIE), note("C", duration=8, more=STOP)]))
    assert rows(song) == [(0, 6, 60)]


def test_of_a_chord_only_the_tied_note_is_held():
    first = note("C", duration=16, more=TIE) + note("E", duration=16, before="<chord/>")
    second = note("C", duration=16, more=STOP) + note("E", duration=16, before="<chord/>")
    assert rows(read_song(musicxml([attributes() + first, second]))) == [(0, 8, 60), (0, 4, 64), (4, 4, 64)]


def test_two_voices_tied_on_one_pitch_stay_two_notes():
    def bar(tie):
        return (
            note("C", duration=16, more=tie)
            + "<backup><duration>16</duration></backup>"
            + note("C", duration=16, more=tie)
        )

    assert rows(read_song(musicxml([attributes() + bar(TIE), bar(STOP)]))) == [(0, 8, 60), (0, 8, 60)]


def test_repeats_and_endings_are_played_and_a_sign_in_one_part_holds_for_all():
    end = '<barline location="right"><repeat direction="backward"/></barline>'

    def ending(number):
        start = f'<barline location="left"><ending number="{number}" type="start"/></barline>'
        stop = f'<barline location="right"><ending number="{number}" type="stop"/>'
        return start, stop + ('<repeat direction="backward"/></barline>' if number == 1 else "</barline>")

    (left1, right1), (left2, right2) = ending(1), ending(2)
    upper = [SEMIBREVE_C, left1 + note("D", duration=16) + right1, left2 + note("E", duration=16) + right2]
    lower = [SEMIBREVE_C, note("D", duration=16) + end, note("E", duration=16)]
    song = read_song(musicxml(upper, lower))
    heard = [[(n["onset"], n["pitch"]) for n in song.select([track]).notes] for track in (0, 1)]
    assert heard[0] == heard[1] == [(0, 60), (4, 62), (8, 60), (12, 64)]


def test_da_capo_goes_back_to_the_tempo_and_meter_of_the_beginning():
    def metronome(bpm):
        return direction(f"<metronome><beat-unit>quarter</beat-unit><per-minute>{bpm}</per-minute></metronome>")

    words = direction("<words>D.C. al Fine</words>")
    fine = direction("<words>Fine</words>")
    slow = attributes(2) + metronome(60) + note("D", duration=8) + words
    song = read_song(musicxml([attributes(3) + metronome(90) + note("C", duration=12) + fine, slow]))
    assert rows(song) == [(0, 3, 60), (3, 2, 62), (5, 3, 60)]
    assert song.tempos.tolist() == [(0, 90), (3, 60), (5, 90)]
    assert song.meters.tolist() == [(0, 3, 4), (3, 2, 4), (5, 3, 4)]


def test_repeat_words_without_sense_are_told_in_the_repairs():
    words = direction("<words>D.S. al Fine</words>")
    assert "not followed" in read_song(musicxml([SEMIBREVE_C + words])).repairs[0]


def test_grace_notes_are_left_out_and_counted():
    song = read_song(musicxml([attributes() + note("B", 3, duration=0, before="<grace/>") + note("C", duration=16)]))
    assert rows(song) == [(0, 4, 60)]
    assert song.repairs == ("left out 1 grace note",)


def test_chord_symbols_are_not_sounded():
    symbol = "<harmony><root><root-step>G</root-step></root><kind>dominant</kind></harmony>"
    assert rows(read_song(musicxml([attributes() + symbol + note("C", duration=16)]))) == [(0, 4, 60)]
    assert rows(read_song(b'X:1\nL:1/4\nK:C\n"G7"CDEF|\n')) == CDEF


def test_a_transposing_instrument_sounds_where_it_sounds_and_the_score_stays_as_it_was():
    from music21.musicxml.xmlToM21 import MusicXMLImporter

    clarinet = "<transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose>"
    importer = MusicXMLImporter()
    importer.xmlText = musicxml([attributes(more=clarinet, fifths=2) + note("D", duration=16)]).decode()
    importer.parseXMLText()
    song = song_from_music21(importer.stream)
    assert song.notes["pitch"].tolist() == [60]
    assert song.keys.tolist() == [(0, 0, False)]
    assert importer.stream.recurse().notes[0].pitch.midi == 62


def test_names_instruments_title_and_key_are_kept():
    midi = '<score-instrument id="I"><instrument-name>x</instrument-name></score-instrument>'
    midi += '<midi-instrument id="I"><midi-channel>1</midi-channel><midi-program>41</midi-program></midi-instrument>'
    song = read_song(
        musicxml(
            [attributes(fifths=-3, mode="minor") + note("C", duration=16)],
            names=["Solo"],
            instruments=midi,
            title="Air",
        )
    )
    assert (song.title, song.tracks[0].name, song.tracks[0].program) == ("Air", "Solo", 40)
    assert song.notes["program"].tolist() == [40]
    assert song.keys.tolist() == [(0, -3, True)]


def test_loudness_follows_the_last_dynamic_sign():
    piano = direction("<dynamics><p/></dynamics>")
    song = read_song(musicxml([attributes() + note("C", duration=8) + piano + note("D", duration=8)]))
    assert song.notes["velocity"].tolist() == [80, 49]


def test_unpitched_notes_are_drums():
    unpitched = "<unpitched><display-step>E</display-step><display-octave>4</display-octave></unpitched>"
    drum = f"<note>{unpitched}<duration>16</duration><voice>1</voice></note>"
    song = read_song(musicxml([attributes() + drum]))
    assert song.notes[["pitch", "drum"]].tolist() == [(38, True)]
    assert song.tracks[0].drum


def test_a_pickup_has_a_meter_of_its_own_so_that_bars_begin_where_they_are_written():
    song = read_song(b"X:1\nM:3/4\nL:1/4\nK:G\nD|GAB|c2d|\n")
    assert song.bar_starts().tolist() == [0, 1, 4]
    assert song.keys.tolist() == [(0, 1, False)]


def test_triplets_and_septuplets_are_exact_in_ticks():
    song = read_song(b"**kern\n=1\n12c\n12d\n12e\n28c\n28d\n28e\n28f\n28g\n28a\n28b\n==\n*-\n")
    assert song.ticks_per_beat == 3360
    assert song.notes["onset"][2:5].tolist() == [2 / 3, 1.0, 1 + 1 / 7]


def test_a_stream_without_measures_is_played_as_it_stands():
    from music21 import converter, stream
    from music21.note import Note

    plain = stream.Stream([Note("C4"), Note("D4", quarterLength=0.5)])
    assert rows(song_from_music21(plain)) == [(0, 1, 60), (1, 0.5, 62)]
    assert rows(song_from_music21(converter.parse("tinynotation: 4/4 c4 d e f"))) == CDEF


def test_divisions_no_midi_file_can_hold_are_rounded():
    from music21 import stream
    from music21.note import Note

    lengths = [1 / 7, 1 / 11, 1 / 13, 1 / 17]
    song = song_from_music21(stream.Stream([Note("C4", quarterLength=length) for length in lengths]))
    assert song.ticks_per_beat == 10080
    assert song.notes["duration"].tolist() == pytest.approx(lengths, abs=1 / 10080)


# --- tune books ---------------------------------------------------------------------------------------------------

BOOK = b"%abc-2.1\nL:1/4\n\nX:1\nT:One\nK:C\nCDEF|\n\nX:2\nT:Two\nK:C\nE4|\n"


def test_a_tune_book_gives_every_tune_with_the_fields_that_stand_before_them():
    songs = read_songs(BOOK, "book.abc")
    assert [song.title for song in songs] == ["One", "Two"]
    assert [rows(song) for song in songs] == [CDEF, [(0, 4, 64)]]


def test_voices_of_a_tune_become_tracks():
    song = read_song(b"X:1\nL:1/4\nM:4/4\nK:C\nV:1\nCDEF|C4|\nV:2\nG,4|C,4|\n")
    assert [rows(song.select([track])) for track in (0, 1)] == [[*CDEF, (4, 4, 60)], [(0, 4, 55), (4, 4, 48)]]


def test_of_a_tune_book_the_first_is_one_song_and_it_says_so():
    song = read_song(BOOK)
    assert song.title == "One"
    assert song.repairs == ("the first of 2 tunes; the others are left out",)


def test_a_tune_that_cannot_be_read_is_told_and_the_others_are_kept():
    songs = read_songs(BOOK + b"\nX:3\nT:Silent\nK:C\nz4|\n")
    assert [song.title for song in songs] == ["One", "Two"]
    assert songs[0].repairs[0].startswith("1 tune of 3 could not be read: the score holds no notes")


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"", "", "the file is empty; give one with music in it"),
        (b"some words", "notes.txt", "must be one of .abc .kar .krn .mid .*got .txt; convert it"),
        (b"\x00\x01\x02", "", "got no suffix"),
        (b"<html><body>", "a.xml", "not readable as MusicXML"),
        (XML.replace(b"score-partwise", b"score-timewise"), "a.xml", "score-partwise, got score-timewise"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]>' + XML, "a.xml", "declares no entities"),
        (musicxml([attributes()]), "a.xml", "holds no notes"),
        (XML[:-40], "a.xml", "not readable as MusicXML"),
        (b"PK\x03\x04 damaged", "a.mxl", "this .mxl is damaged"),
        (zipped(**{"readme.txt": b"x"}), "a.mxl", "this one has none"),
        (b"<html>nothing</html>", "a.abc", "not readable as ABC|holds no notes"),
        (b"<html>nothing</html>", "a.krn", "not readable as Humdrum|holds no notes"),
        (b"**kern\n4q^x\n*-\n", "a.krn", "holds no notes"),
        (b"<svg/>", "a.mid", "a MIDI file begins with 'MThd'"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(data, name, words):
    with pytest.raises(MidiError, match=words) as refused:
        read_song(data, name)
    assert "\n" not in str(refused.value)


def test_what_music21_only_warns_of_is_told_in_the_repairs():
    song = read_song(b"**kern\n4c\n4q^x\n4d\n*-\n")
    assert len(song) == 2
    assert song.repairs[0].startswith("music21 says: ")
    assert "4q^x" in song.repairs[0]


def test_a_path_is_named_before_the_reason(tmp_path):
    path = tmp_path / "broken.krn"
    path.write_bytes(b"nothing")
    with pytest.raises(MidiError, match=r"^broken\.krn: "):
        read_songs(path)


def test_a_compressed_score_that_inflates_beyond_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(formats, "MAX_INFLATED_BYTES", 100)
    with pytest.raises(MidiError, match="at most 100 bytes when inflated"):
        read_song(zipped(**{"s.xml": XML}))


def test_a_score_cut_anywhere_is_read_or_refused_in_words():
    for data, name in ((XML, "a.xml"), (ABC, "a.abc"), (KRN, "a.krn")):
        for size in range(1, len(data), 9):
            try:
                assert len(read_song(data[:size], name)) <= 4
            except MidiError:
                continue
