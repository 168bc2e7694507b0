import io

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from midi_hex import C4, midi_file, rows

from deepmusician.errors import MidiError
from deepmusician.limits import Limits
from deepmusician.midi import read_midi, write_midi
from deepmusician.notes import KEY, METER, NOTE, TEMPO, Song, Touched, Track

TEMPO_120 = "00 ff 51 03 07 a1 20  # 500000 microseconds a beat"


# --- what a file says ---------------------------------------------------------------------------------------------


def test_one_note_is_read_with_pitch_velocity_and_time_in_beats():
    song = read_midi(midi_file("83 60 90 3c 40  # C4 after 480 ticks \n 81 70 80 3c 00  # off after 240"))
    assert rows(song) == [(1.0, 0.5, 60)]
    assert song.notes["velocity"].tolist() == [64]
    assert song.ticks_per_beat == 480
    assert song.repairs == ()


def test_name_program_and_drum_channel_become_tracks():
    song = read_midi(
        midi_file(
            f"00 ff 03 05 56 69 6f 6c 61  # track name Viola \n 00 c0 29  # program 41 \n {C4}",
            "00 ff 03 04 42 65 61 74  # Beat \n 00 99 24 7f  # bass drum \n 60 89 24 00",
        )
    )
    assert song.tracks == (Track("Viola", 41, False), Track("Beat", 0, True))
    assert song.notes[["program", "drum", "track"]].tolist() == [(0, True, 1), (41, False, 0)]


def test_channels_of_a_format_0_file_become_tracks_and_its_name_the_title():
    name = "00 ff 03 03 44 75 6f  # Duo"
    two = "00 91 40 40 \n 83 60 81 40 00"
    song = read_midi(midi_file(f"{name} \n {C4} \n {two}", format=0))
    assert song.title == "Duo"
    assert song.tracks == (Track(""), Track(""))
    assert song.notes["track"].tolist() == [0, 1]


def test_a_part_that_rests_throughout_stays_a_track_but_a_comment_does_not():
    song = read_midi(midi_file("00 ff 03 02 68 69  # hi", C4, "00 ff 03 04 54 75 62 61  # Tuba \n 00 c2 3a"))
    assert song.tracks == (Track(""), Track("Tuba", 58))
    assert song.title == "hi"


def test_tempo_meter_and_key_are_taken_from_every_track():
    song = read_midi(
        midi_file(
            f"{TEMPO_120} \n 00 ff 58 04 03 02 18 08  # 3/4 \n 00 ff 59 02 fd 01  # C minor",
            f"{C4} \n 00 ff 51 03 0f 42 40  # one second a beat \n 00 ff 58 04 06 03 24 08  # 6/8",
        )
    )
    assert song.tempos.tolist() == [(0.0, 120.0), (1.0, 60.0)]
    assert song.meters.tolist() == [(0.0, 3, 4), (1.0, 6, 8)]
    assert song.keys.tolist() == [(0.0, -3, True)]
    assert song.seconds == pytest.approx(0.5)


def test_smpte_ticks_are_seconds_whatever_the_tempo():
    # 25 frames a second of 40 ticks: a thousand ticks a second
    song = read_midi(
        midi_file("00 ff 51 03 0f 42 40 \n 87 68 90 3c 40 # 1000 \n 83 74 80 3c 00 # 500", division=0xE728)
    )
    assert song.seconds_at(song.notes["onset"]).tolist() == [1.0]
    assert song.seconds == pytest.approx(1.5)
    assert song.tempos["bpm"].tolist() == [120.0]


def test_smpte_29_means_30000_frames_in_1001_seconds():
    song = read_midi(midi_file("00 90 3c 40 \n 1e 80 3c 00 # 30 frames", division=0xE301))
    assert song.seconds == pytest.approx(1.001)


def test_patterns_of_format_2_are_laid_one_after_another_and_reported():
    song = read_midi(midi_file(C4, f"{C4} \n 00 ff 51 03 0f 42 40", format=2))
    assert rows(song) == [(0, 1, 60), (1, 1, 60)]
    assert song.tempos.tolist() == [(0.0, 120.0), (2.0, 60.0)]
    assert song.repairs == ("its 2 patterns (format 2) are laid one after another",)


# --- which off ends which on --------------------------------------------------------------------------------------


def test_note_on_of_velocity_0_in_running_status_ends_the_note():
    song = read_midi(midi_file("00 90 3c 40 \n 60 3c 00  # running status, velocity 0 \n 00 3e 40 \n 60 3e 00"))
    assert rows(song) == [(0, 0.2, 60), (0.2, 0.2, 62)]


def test_running_status_lives_through_a_meta_event():
    song = read_midi(midi_file("00 90 3c 40 \n 60 ff 01 02 68 69  # text \n 00 3c 00"))
    assert rows(song) == [(0, 0.2, 60)]


def test_of_overlapping_notes_on_one_pitch_the_first_off_ends_the_first():
    song = read_midi(midi_file("00 90 3c 40 \n 60 90 3c 50 \n 60 80 3c 00 \n 60 80 3c 00"))
    assert rows(song) == [(0, 0.4, 60), (0.2, 0.4, 60)]
    assert song.notes["velocity"].tolist() == [64, 80]
    assert song.repairs == ()


def test_a_missing_note_off_closes_at_the_next_note_of_that_pitch_and_later_notes_keep_their_ends():
    song = read_midi(midi_file("00 90 3c 40 \n 60 90 3c 40 \n 30 80 3c 00 \n 30 90 3c 40 \n 30 80 3c 00"))
    assert rows(song) == [(0, 0.2, 60), (0.2, 0.1, 60), (0.4, 0.1, 60)]
    assert song.repairs == ("closed 1 note without a note-off, at the next note on that key or the end of the track",)


def test_a_note_with_no_end_at_all_closes_at_the_end_of_its_track():
    song = read_midi(midi_file("00 90 3c 40 \n 60 90 40 40 \n 83 00 ff 2f 00  # end of track 384 ticks later"))
    assert rows(song) == [(0, 1, 60), (0.2, 0.8, 64)]
    assert "closed 2 notes" in song.repairs[0]


def test_a_note_without_note_off_closes_at_all_notes_off_of_its_channel():
    song = read_midi(midi_file("00 90 3c 40 \n 30 b1 7b 00 # another channel \n 30 b0 7b 00 \n 60 ff 2f 00"))
    assert rows(song) == [(0, 0.2, 60)]


def test_a_note_told_twice_with_one_end_is_one_note_and_reported():
    song = read_midi(midi_file("00 90 3c 40 \n 00 90 3c 50 \n 60 80 3c 00"))
    assert rows(song) == [(0, 0.2, 60)]
    assert song.repairs == ("left out 1 note told twice at one moment with one note-off",)


def test_a_note_of_no_length_gets_one_tick_and_does_not_take_a_later_end():
    song = read_midi(midi_file("00 90 3c 40 \n 00 80 3c 00 \n 60 90 3c 40 \n 60 80 3c 00"))
    assert rows(song) == [(0, 1 / 480, 60), (0.2, 0.2, 60)]
    assert song.repairs == ("gave 1 note of no length one tick",)


def test_a_note_off_with_nothing_to_end_is_harmless():
    song = read_midi(midi_file(f"00 80 3c 00 \n {C4} \n 00 80 3c 00 \n 00 80 40 00 \n 00 8f 40 00"))
    assert rows(song) == [(0, 1, 60)]
    assert (song.tracks, song.repairs) == ((Track(),), ())


def test_a_note_off_of_a_channel_without_notes_ends_no_note_of_another():
    song = read_midi(midi_file("00 90 3c 40 \n 60 81 3c 00  # channel 2 has no notes \n 60 80 3c 00"))
    assert rows(song) == [(0, 0.4, 60)]
    assert song.touched == Touched()


def test_tracks_on_one_channel_do_not_end_each_others_notes():
    song = read_midi(midi_file("00 90 3c 40 \n 60 80 3c 00", "30 90 3c 40 \n 60 80 3c 00"))
    assert rows(song) == [(0, 0.2, 60), (0.1, 0.2, 60)]


# --- which instrument plays ---------------------------------------------------------------------------------------


def test_the_instrument_is_the_one_at_the_note_on_not_at_the_note_off():
    song = read_midi(midi_file("00 c0 28 \n 00 90 3c 40 \n 30 c0 29 \n 30 80 3c 00 \n 00 90 3c 40 \n 60 80 3c 00"))
    assert song.notes["program"].tolist() == [40, 41]


def test_an_instrument_named_in_a_set_up_track_holds_for_the_channel():
    assert read_midi(midi_file("00 c0 28  # violin on channel 1", C4)).notes["program"].tolist() == [40]


def test_of_two_lending_tracks_the_nearest_before_lends():
    files = midi_file("00 c0 28", f"00 c0 29 \n {C4}", C4, f"00 c0 2a \n {C4}")
    assert sorted(read_midi(files).notes[["track", "program"]].tolist()) == [(1, 41), (2, 41), (3, 42)]


def test_another_port_lends_nothing():
    files = midi_file("00 ff 21 01 01  # port 2 \n 00 c0 28", f"00 ff 21 01 00  # port 1 \n {C4}")
    assert read_midi(files).notes["program"].tolist() == [0]


# --- what is mended, what is refused ------------------------------------------------------------------------------


def test_impossible_tempo_meter_and_key_are_left_out_and_reported():
    bad = "00 ff 51 03 00 00 00 \n 00 ff 58 04 00 02 18 08 \n 00 ff 58 04 04 09 18 08 \n 00 ff 59 02 0b 00"
    song = read_midi(midi_file(f"{bad} \n {C4}"))
    assert song.tempos.tolist() == [(0, 120)]
    assert song.meters.tolist() == [(0, 4, 4)]
    assert len(song.keys) == 0
    wanted = (
        "left out 1 tempo that cannot be",
        "left out 2 meters that cannot be",
        "left out 1 key that cannot be",
    )
    assert song.repairs == wanted


def test_a_file_without_notes_is_refused():
    with pytest.raises(MidiError, match=r"^the file holds no notes; choose one with music in it"):
        read_midi(midi_file(TEMPO_120))


def test_a_note_beyond_two_to_the_31_ticks_is_refused_not_wrapped():
    with pytest.raises(MidiError, match="at most 20,000 beats, got 5,033,165"):
        read_midi(midi_file("ff ff ff 7f 90 3c 40 \n" + "ff ff ff 7f b0 07 40 \n" * 8 + "00 80 3c 00"))


def test_more_notes_than_the_limit_are_refused():
    with pytest.raises(MidiError, match="at most 2 notes, got 3; split"):
        read_midi(midi_file(f"{C4} \n {C4} \n {C4}"), limits=Limits(notes=2))


def test_a_song_longer_than_two_hours_is_refused():
    slow = "00 ff 51 03 ff ff ff  # 16.8 seconds a beat"
    data = midi_file(f"{slow} \n 00 90 3c 40 \n bb f4 00 80 3c 00  # 2045 beats")
    with pytest.raises(MidiError, match=r"at most 2 hours, got 9\.5"):
        read_midi(data)
    assert len(read_midi(data, limits=Limits(hours=10))) == 1


def test_a_path_is_read_and_named_in_errors(tmp_path):
    path = tmp_path / "tune.mid"
    path.write_bytes(midi_file(C4))
    assert len(read_midi(path)) == len(read_midi(str(path))) == 1
    path.write_bytes(b"GIF89a")
    with pytest.raises(MidiError, match=r"^tune\.mid: .*GIF picture"):
        read_midi(path)
    with pytest.raises(MidiError, match=r"^a MIDI file begins"):
        read_midi(path, name="as the caller calls it")
    with pytest.raises(MidiError, match=r"none\.mid cannot be read: No such file.*check the path"):
        read_midi(tmp_path / "none.mid")


def test_a_file_cut_at_any_byte_is_read_or_refused_in_words():
    whole = midi_file(
        f"{TEMPO_120} \n 00 c0 28 \n {C4}", f"00 ff 03 02 68 69 \n {C4} \n {C4}", "00 99 24 40 \n 60 24 00"
    )
    for size in range(len(whole)):
        try:
            song = read_midi(whole[:size])
        except MidiError:
            continue
        assert song.repairs, f"cut at byte {size} went unnoticed"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), min_size=1, max_size=6))
def test_flipped_bytes_never_do_worse_than_an_error_in_words(flips):
    data = bytearray(
        midi_file(f"{TEMPO_120} \n 00 c0 28 \n 00 d0 40 \n {C4} \n 00 f0 02 01 f7", f"{C4} \n {C4} \n {C4}")
    )
    for at, value in flips:
        data[at % len(data)] = value
    try:
        song = read_midi(bytes(data))
    except MidiError:
        return
    assert np.isfinite(song.seconds)


# --- writing ------------------------------------------------------------------------------------------------------


def notes_of(*rows: tuple) -> np.ndarray:
    return np.array(list(rows), NOTE)


def first_off_ends_first(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same onsets and ends, paired as a reader of MIDI must pair them."""
    return list(zip(sorted(on for on, _ in spans), sorted(off for _, off in spans), strict=True))


names = st.text(st.characters(categories=("L", "N", "P", "S")), max_size=12)
spans = st.tuples(st.integers(0, 5000), st.integers(1, 900)).map(lambda s: (s[0], s[0] + s[1]))


@st.composite
def track_notes(draw, number: int, ticks: int, drum: bool, program: int):
    found = []
    for pitch, tangle in draw(
        st.dictionaries(st.integers(0, 127), st.lists(spans, min_size=1, max_size=4), max_size=5)
    ).items():
        for on, off in first_off_ends_first(tangle):
            velocity = draw(st.integers(1, 127))
            found.append((on / ticks, (off - on) / ticks, pitch, velocity, program, drum, number))
    return found


@st.composite
def songs(draw):
    ticks = draw(st.sampled_from((1, 24, 96, 480, 10080, 32767)))
    tracks = draw(st.lists(st.builds(Track, names, st.integers(0, 127), st.booleans()), min_size=1, max_size=18))
    notes = [(0, 1, 60, 64, tracks[0].program, tracks[0].drum, 0)]
    for i, track in enumerate(tracks[1:], start=1):
        notes += draw(track_notes(i, ticks, track.drum, track.program))
    beats = st.integers(0, 4000).map(lambda tick: tick / ticks)
    microseconds = st.integers(10_000, 1_000_000)  # slower ones would pass the limit of two hours
    tempos = draw(st.lists(st.tuples(beats, microseconds.map(lambda m: 60_000_000 / m)), max_size=3))
    meters = draw(st.lists(st.tuples(beats, st.integers(1, 32), st.sampled_from((1, 2, 4, 8, 16, 128))), max_size=3))
    keys = draw(st.lists(st.tuples(beats, st.integers(-7, 7), st.booleans()), max_size=3, unique_by=lambda k: k[0]))
    return Song(
        np.array(notes, NOTE),
        ticks,
        np.array(tempos, TEMPO),
        np.array(meters, METER),
        np.array(sorted(keys), KEY),
        tuple(tracks),
        draw(names),
    )


@settings(max_examples=80, deadline=None)
@given(songs())
def test_a_song_written_and_read_is_the_same_song(song):
    back = read_midi(write_midi(song))
    assert sorted(back.notes.tolist()) == sorted(song.notes.tolist())
    for field in ("tempos", "meters", "keys"):
        assert getattr(back, field).tolist() == getattr(song, field).tolist()
    assert (back.tracks, back.title) == (song.tracks, song.title)
    assert (back.ticks_per_beat, back.repairs) == (song.ticks_per_beat, ())


@settings(max_examples=20, deadline=None)
@given(songs())
def test_symusic_and_mido_hear_the_same_notes_in_what_is_written(song):
    import symusic

    data = write_midi(song)
    plain = sorted(zip(song.notes["pitch"].tolist(), song.notes["velocity"].tolist(), strict=True))
    heard = symusic.Score.from_midi(data)
    assert sorted((n.pitch, n.velocity) for track in heard.tracks for n in track.notes) == plain
    messages = [m for track in mido.MidiFile(file=io.BytesIO(data)).tracks for m in track if m.type == "note_on"]
    assert sorted((m.note, m.velocity) for m in messages) == plain


def test_the_same_song_gives_the_same_bytes_and_the_file_holds_them(tmp_path):
    song = Song.from_notes([(0, 1, 60), (0, 1, 64), (1, 1, 60)], title="Étude")
    path = tmp_path / "out.mid"
    assert write_midi(song, path) == write_midi(song) == path.read_bytes()


@pytest.mark.parametrize("bpm", [60_000_000 / 0xFFFFFF, 60_000_000.0])
def test_the_slowest_and_the_fastest_tempo_come_back(bpm):
    song = Song.from_notes([(0, 1, 60)]).with_tempo(bpm)
    assert read_midi(write_midi(song)).tempos["bpm"].tolist() == [bpm]


def test_a_written_note_is_these_bytes():
    song = Song.from_notes([(0, 1, 60)], velocity=64)
    assert write_midi(song) == midi_file(
        f"{TEMPO_120} \n 00 ff 58 04 04 02 18 08  # 4/4",
        "00 c0 00  # piano \n 00 90 3c 40 \n 83 60 80 3c 00",
    )


def test_a_repeated_key_is_released_before_it_is_struck_again():
    data = write_midi(Song.from_notes([(0, 1, 60), (1, 1, 60)], velocity=64))
    assert bytes.fromhex("83 60 80 3c 00 00 90 3c 40") in data


def test_a_note_inside_another_on_the_same_key_comes_back_with_the_ends_exchanged():
    song = read_midi(write_midi(Song.from_notes([(0, 4, 60), (1, 1, 60)])))
    assert rows(song) == [(0, 2, 60), (1, 3, 60)]


def test_drums_go_to_channel_10_and_twenty_programs_share_fifteen_channels():
    tracks = (*(Track(f"part {i}", i) for i in range(20)), Track("drums", 0, True))
    notes = [(beat, 1, 40 + i, 80, i, False, i) for i in range(20) for beat in (0, i % 3, 4)]
    song = Song(notes_of(*notes, (0, 1, 36, 80, 0, True, 20)), tracks=tracks)
    heard = heard_programs(write_midi(song))
    assert heard == {(40 + i, i) for i in range(20)} | {(36, "drum")}
    assert read_midi(write_midi(song)).tracks == tracks


def test_sixteen_tracks_of_two_programs_take_two_channels():
    tracks = tuple(Track(program=i % 2) for i in range(16))
    song = Song(notes_of(*((i, 1, 60, 80, i % 2, False, i) for i in range(16))), tracks=tracks)
    assert write_midi(song).count(b"\x00\xc0\x00") == write_midi(song).count(b"\x00\xc1\x01") == 8


def heard_programs(data: bytes) -> set[tuple]:
    """(pitch, program) of every note, as a synthesiser hears the tracks together; mido merges them."""
    program, heard = {}, set()
    for message in mido.merge_tracks(mido.MidiFile(file=io.BytesIO(data)).tracks):
        if message.type == "program_change":
            program[message.channel] = message.program
        elif message.type == "note_on":
            heard.add((message.note, "drum" if message.channel == 9 else program.get(message.channel)))
    return heard


def test_an_instrument_that_changes_within_a_track_is_kept():
    notes = notes_of((0, 1, 60, 80, 5, False, 0), (0, 1, 64, 80, 7, False, 0), (1, 1, 60, 80, 5, False, 0))
    song = Song(notes, tracks=(Track(program=5),))
    assert read_midi(write_midi(song)).notes.tolist() == song.notes.tolist()


def test_a_track_of_drums_and_tones_becomes_two():
    song = Song(notes_of((0, 1, 60, 80, 5, False, 0), (0, 1, 36, 80, 0, True, 0)))
    assert read_midi(write_midi(song)).tracks == (Track(program=5), Track(drum=True))


@pytest.mark.parametrize(
    ("song", "words"),
    [
        (Song.from_notes([(-1, 2, 60)]), "onset in ticks within 0.*got -480"),
        (Song.from_notes([(0, 1, 128)]), "pitch within 0..127, got 128"),
        (Song.from_notes([(0, 1, 60)], velocity=0), "velocity within 1..127, got 0"),
        (Song.from_notes([(0, 1, 60)], ticks_per_beat=40000), "ticks_per_beat within 1..32767, got 40000"),
        (Song.from_notes([(0, 1, 60)], tracks=(Track(program=200),)), "program within 0..127, got 200"),
        (Song.from_notes([(0, 1, 60)]).with_tempo(3), r"tempo in beats a minute within 3.57.*got 3"),
        (
            Song.from_notes([(0, 1, 60)], meters=np.array([(0, 3, 6)], METER)),
            "bits set in a meter denominator",
        ),
        (
            Song.from_notes([(0, 1, 60)], keys=np.array([(0, 9, False)], KEY)),
            "sharps or flats in a key.*got 9",
        ),
    ],
)
def test_what_midi_has_no_room_for_is_refused(song, words):
    with pytest.raises(MidiError, match=words):
        write_midi(song)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(MidiError, match=r"no-folder.*cannot be written.*choose another place"):
        write_midi(Song.from_notes([(0, 1, 60)]), tmp_path / "no-folder" / "a.mid")
