"""Sound: what is heard, when, how loud; where libraries and soundfonts come from; the files written."""

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from deepmusician import fluid, render, sandbox, synthesis
from deepmusician.errors import OptionError, RenderError
from deepmusician.instruments import INSTRUMENTS, PROGRAM_NAMES, program_name
from deepmusician.notes import NOTE, TEMPO, Song, Track
from deepmusician.render import Audio

RATE = 22050  # half the usual: enough to measure, quicker to make
MINUS_1_DB = 0.8913
FLUTE, ORGAN, MUSIC_BOX = 73, 19, 10


@pytest.fixture(scope="module")
def tune():
    """Four crotchets at 120 a minute: two seconds."""
    return Song.from_notes([(0, 1, 60), (1, 1, 64), (2, 1, 67), (3, 1, 72)])


@pytest.fixture(scope="module")
def audio(tune):
    return render.render(tune, RATE)


@pytest.fixture(autouse=True)
def no_chosen_soundfont(monkeypatch):
    monkeypatch.delenv("DEEPMUSICIAN_SOUNDFONT", raising=False)


def run_python(code, **environment):
    """Run `code` in a fresh interpreter; returns what it printed on stdout, and on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr.strip()


def loudness(samples):
    return float(np.abs(samples).max())


def first_sound(audio, threshold=0.01, after=0.0):
    """Seconds at which the samples first exceed `threshold`, looking from `after` on."""
    start = int(after * audio.sample_rate_hz)
    return (start + np.argmax(np.abs(audio.samples[start:]).max(axis=1) > threshold)) / audio.sample_rate_hz


# What is heard


def test_a4_sounds_at_440_hz():
    audio = render.render(Song.from_notes([(0, 4, 69)]).with_program(FLUTE), RATE)
    second = audio.samples[RATE // 2 : RATE // 2 + RATE].sum(axis=1)  # one second: bins of 1 Hz
    assert np.argmax(np.abs(np.fft.rfft(second))) == pytest.approx(440, abs=12)  # half a semitone


def test_each_note_begins_where_the_song_puts_it():
    gaps = Song.from_notes([(2, 0.5, 60), (10, 0.5, 72)])  # at 120 beats a minute: second 1 and second 5
    audio = render.render(gaps, RATE)
    assert first_sound(audio) == pytest.approx(1.0, abs=0.01)
    assert first_sound(audio, after=4.9) == pytest.approx(5.0, abs=0.01)


def test_hundreds_of_tempo_changes_do_not_drift():
    tempos = np.array([(beat / 8, 100.3 + beat % 7) for beat in range(400)], TEMPO)
    song = Song.from_notes([(50, 1, 72)], tempos=tempos)
    audio = render.render(song, RATE)
    assert first_sound(audio) == pytest.approx(float(song.seconds_at(50)), abs=0.01)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 960), st.integers(40, 80)), min_size=1, max_size=9))
def test_milliseconds_keep_every_note_at_its_seconds(rows):
    tempos = np.array([(0, 93.7), (7.5, 140.2), (31, 61.8)], TEMPO)
    song = Song.from_notes([(onset, ticks / 480, pitch) for onset, ticks, pitch in rows], tempos=tempos)
    laid_out = render._in_milliseconds(song)
    seconds = song.seconds_at(song.notes["onset"])
    assert laid_out.seconds_at(laid_out.notes["onset"]) == pytest.approx(seconds, abs=0.00051)
    assert (laid_out.notes["duration"] * laid_out.ticks_per_beat >= 1).all()


def test_the_tail_rings_past_the_last_note_and_ends_quiet(tune, audio):
    assert tune.seconds == 2.0
    assert tune.seconds + 0.5 < audio.seconds < tune.seconds + fluid.TAIL_SECONDS
    assert loudness(audio.samples[int(2.0 * RATE) : int(2.2 * RATE)]) > 0.01  # not cut with the note
    assert loudness(audio.samples[-RATE // 10 :]) < MINUS_1_DB / 1000  # 60 dB under the peak
    assert audio.samples[-1] == pytest.approx([0, 0], abs=1e-9)


def test_an_endless_tail_is_cut_and_faded(tune, monkeypatch):
    monkeypatch.setattr(fluid, "TAIL_SECONDS", 0.5)
    cut = render.render(tune.with_program(MUSIC_BOX), RATE)
    assert cut.seconds == pytest.approx(2.5, abs=fluid.CHUNK_FRAMES / RATE)
    assert cut.samples[-1] == pytest.approx([0, 0], abs=1e-9)


def test_both_channels_sound_alike_but_not_the_same(audio):
    left, right = np.sqrt((audio.samples**2).mean(axis=0))
    assert abs(20 * np.log10(left / right)) < 3  # dB
    assert loudness(audio.samples[:, 0] - audio.samples[:, 1]) > 0.01


@pytest.mark.parametrize("velocity", [5, 127])
def test_soft_and_loud_songs_reach_the_same_peak(velocity):
    audio = render.render(Song.from_notes([(0, 1, 60), (1, 1, 67)], velocity=velocity), RATE)
    assert loudness(audio.samples) == pytest.approx(MINUS_1_DB, abs=1e-3)
    assert audio.samples.dtype == np.float32


def test_another_instrument_sounds_different(tune, audio):
    organ = render.render(tune.with_program(ORGAN), RATE)
    middle = slice(RATE // 2, RATE)
    assert loudness(organ.samples[middle] - audio.samples[middle]) > 0.1


def test_a_hi_hat_is_no_low_piano_note():
    drum = Song(np.array([(0, 1, 42, 100, 0, True, 0)], NOTE), tracks=(Track("kit", 0, True),))
    piano = Song.from_notes([(0, 1, 42)], velocity=100)
    sounds = [render.render(song, RATE).samples[:RATE].sum(axis=1) for song in (drum, piano)]
    spectra = [np.abs(np.fft.rfft(sound)) ** 2 for sound in sounds]
    hiss = [spectrum[3000:].sum() / spectrum.sum() for spectrum in spectra]  # the energy above 3 kHz
    assert hiss[0] > 0.5 > 0.1 > hiss[1]


def test_the_same_song_gives_the_same_samples(tune, audio):
    assert np.array_equal(render.render(tune, RATE).samples, audio.samples)


def test_two_threads_may_render_at_once(tune, audio):
    with ThreadPoolExecutor(2) as pool:
        rendered = list(pool.map(lambda song: render.render(song, RATE), [tune, tune.with_program(ORGAN), tune]))
    assert np.array_equal(rendered[0].samples, audio.samples)
    assert np.array_equal(rendered[2].samples, audio.samples)


def test_the_sample_rate_sets_samples_not_seconds(tune, audio):
    fine = render.render(tune, 44100)
    assert fine.sample_rate_hz == 44100
    assert fine.seconds == pytest.approx(audio.seconds, abs=0.5)
    assert first_sound(fine) == pytest.approx(first_sound(audio), abs=0.01)


def test_rendering_prints_nothing_even_where_ci_is_set():
    code = (
        "from deepmusician.notes import Song; from deepmusician.render import render;"
        "render(Song.from_notes([(0, 1, 60)]), 8000)"
    )
    assert run_python(code, CI="true") == ("", "")


# What cannot be heard


def test_a_song_without_notes_is_refused():
    with pytest.raises(RenderError, match="at least one note"):
        render.render(Song.from_notes([]))


def test_a_song_over_ten_minutes_is_refused_with_both_lengths():
    with pytest.raises(RenderError, match=r"may last 10 min 0 s.*lasts 10 min 1 s"):
        render.render(Song.from_notes([(0, 1202, 60)]))


def test_max_seconds_moves_the_limit(tune):
    with pytest.raises(RenderError, match=r"may last 1 s.*lasts 2 s"):
        render.render(tune, RATE, max_seconds=1)


@pytest.mark.parametrize("rate", [0, 7999, 96001])
def test_a_sample_rate_out_of_range_is_refused(tune, rate):
    with pytest.raises(RenderError, match=f"sample_rate_hz must be 8000..96000, got {rate}"):
        render.render(tune, rate)


def test_silence_is_an_error(tune, monkeypatch):
    monkeypatch.setattr(synthesis, "synthesise", lambda *_: np.full((100_000, 2), 1e-8, np.float32))
    with pytest.raises(RenderError, match="renders to silence"):
        render.render(tune)


def test_samples_that_are_not_numbers_are_an_error(tune, monkeypatch):
    monkeypatch.setattr(synthesis, "synthesise", lambda *_: np.full((100_000, 2), np.nan, np.float32))
    with pytest.raises(RenderError, match="not numbers"):
        render.render(tune)


def test_sound_that_ends_before_its_music_is_an_error(tune, monkeypatch):
    monkeypatch.setattr(synthesis, "synthesise", lambda *_: np.ones((RATE, 2), np.float32))
    with pytest.raises(RenderError, match="stopped after 22,050 of 44,100 frames"):
        render.render(tune, RATE)


def test_the_limit_of_minutes_can_be_set(tune, home, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_MAX_RENDER_MINUTES", "0.02")
    with pytest.raises(RenderError, match=r"may last 1 s.*lasts 2 s"):
        render.render(tune, RATE)


# The process it happens in


def test_the_page_never_runs_the_synthesizer_itself(tune, monkeypatch):
    monkeypatch.setattr(fluid, "synthesise", lambda **_: pytest.fail("it runs here"))
    assert len(render.render(tune, RATE).samples)


def test_what_is_made_so_far_can_be_heard_while_the_rest_is_made(tune, audio):
    lengths = []
    again = render.render(tune, RATE, heard=lambda samples: lengths.append(samples.shape))
    assert np.array_equal(again.samples, audio.samples)
    assert lengths == [(fluid.CHUNK_FRAMES * n, 2) for n in range(1, len(audio.samples) // fluid.CHUNK_FRAMES + 1)]


def test_who_hears_enough_ends_the_rendering_and_the_next_is_whole(tune, audio):
    def enough(samples: np.ndarray) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        render.render(tune, RATE, heard=enough)
    assert np.array_equal(render.render(tune, RATE).samples, audio.samples)


def test_what_takes_too_long_is_ended_and_the_next_is_whole(tune, audio, home, monkeypatch):
    long = Song.from_notes([(beat, 4, pitch) for beat in range(600) for pitch in range(40, 88)])
    monkeypatch.setenv("DEEPMUSICIAN_MAX_RENDER_SECONDS", "1")
    with pytest.raises(RenderError, match=r"may take 1 seconds, this takes longer; shorten it.*RENDER_SECONDS"):
        render.render(long, 96000)
    monkeypatch.delenv("DEEPMUSICIAN_MAX_RENDER_SECONDS")
    assert np.array_equal(render.render(tune, RATE).samples, audio.samples)


@pytest.mark.parametrize(
    ("kind", "words"), [("memory", "ran out of memory; try another"), ("crash", "broke down .-11.; try another")]
)
def test_a_synthesizer_that_breaks_down_is_told_in_words(tune, monkeypatch, kind, words):
    class Failing:
        def ask(self, *_: object) -> None:
            raise sandbox.Fault(kind, "-11")

    monkeypatch.setattr(synthesis, "_pool", lambda soundfont: Failing())
    with pytest.raises(RenderError, match=words):
        render.render(tune, RATE)


def test_who_asks_whether_there_is_sound_finds_the_worker_warm():
    pool = synthesis._pool(render.find_soundfont())
    pool.close()
    assert render.sound_problem() is None
    assert len(pool.idle) == 1


def test_audio_must_be_stereo():
    with pytest.raises(RenderError, match=r"stereo \[N, 2\], got \[5\]"):
        Audio(np.zeros(5, np.float32), RATE)


# Libraries


def library_in_the_wheel():
    return next(fluid._wheel_libraries())


def test_the_systems_library_comes_before_the_wheels(monkeypatch):
    system = library_in_the_wheel()
    monkeypatch.setattr(fluid, "_system_libraries", lambda: iter([system]))
    monkeypatch.setattr(fluid, "_wheel_libraries", lambda: pytest.fail("the system's library was enough"))
    assert fluid.find_library() == system


@pytest.mark.skipif(sys.platform != "linux", reason="LD_LIBRARY_PATH is Linux's")
def test_a_system_library_is_found_and_renders(tmp_path):
    wheel = library_in_the_wheel()
    (tmp_path / "libfluidsynth.so.3").symlink_to(wheel)
    code = (
        "from deepmusician import fluid; from deepmusician.notes import Song; from deepmusician.render import render;"
        "render(Song.from_notes([(0, 1, 60)]), 8000); print(fluid.find_library())"
    )
    out, _ = run_python(code, LD_LIBRARY_PATH=f"{tmp_path}:{os.path.dirname(wheel)}")
    assert "libfluidsynth.so.3" in out
    assert "pygame" not in out


def test_a_broken_system_library_gives_way_to_the_wheels(tmp_path, monkeypatch):
    broken = tmp_path / "libfluidsynth.so.3"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr(fluid, "_system_libraries", lambda: iter([str(broken)]))
    assert fluid.find_library() == library_in_the_wheel()


def test_a_library_of_another_kind_is_not_taken_for_fluidsynth(monkeypatch):
    import _ctypes

    monkeypatch.setattr(fluid, "_system_libraries", lambda: iter([_ctypes.__file__]))
    assert fluid.find_library() == library_in_the_wheel()


def test_without_a_library_the_sentence_says_what_to_install(tune, monkeypatch):
    monkeypatch.setattr(fluid, "_system_libraries", lambda: iter([]))
    monkeypatch.setattr(fluid, "_wheel_libraries", lambda: iter([]))
    fluid.library.cache_clear()
    try:
        problem = render.sound_problem()
        with pytest.raises(RenderError, match="none was found"):
            render.render(tune)
    finally:
        fluid.library.cache_clear()
    assert "apt install libfluidsynth3" in problem
    assert "brew install fluid-synth" in problem


def test_where_pygame_is_not_installed_the_wheel_offers_nothing(monkeypatch):
    monkeypatch.setattr(fluid.importlib.util, "find_spec", lambda name: None)
    assert list(fluid._wheel_libraries()) == []


def test_sound_has_no_problem_here():
    assert render.sound_problem() is None


def test_looking_for_library_and_soundfont_imports_no_package_that_carries_them():
    code = (
        "import sys; from deepmusician import fluid, render; fluid.find_library(); render.find_soundfont();"
        "print([m for m in ('pygame', 'pretty_midi', 'soundfile', 'fluidsynth') if m in sys.modules])"
    )
    assert run_python(code)[0] == "[]"


# Soundfonts


def test_a_soundfont_named_in_the_environment_wins(tmp_path, monkeypatch):
    chosen = tmp_path / "mine.sf2"
    chosen.write_bytes(b"RIFF\0\0\0\0sfbk")
    monkeypatch.setenv("DEEPMUSICIAN_SOUNDFONT", str(chosen))
    assert render.find_soundfont() == chosen


def test_a_good_system_soundfont_comes_before_the_small_one(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "SOUNDFONT_FOLDERS", (str(tmp_path),))
    assert render.find_soundfont().name == "TimGM6mb.sf2"
    for name in ("MuseScore_General.sf3", "FluidR3_GM.sf2"):  # the better one last
        (tmp_path / name).touch()
        assert render.find_soundfont() == tmp_path / name


def test_without_any_soundfont_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(render, "SOUNDFONT_FOLDERS", ())
    monkeypatch.setattr(render.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RenderError, match=r"fluid-soundfont-gm.*DEEPMUSICIAN_SOUNDFONT"):
        render.find_soundfont()


def test_a_missing_soundfont_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_SOUNDFONT", str(tmp_path / "gone.sf2"))
    assert "gone.sf2 cannot be read (No such file or directory)" in render.sound_problem()


def test_a_file_that_is_no_soundfont_is_refused(tune, tmp_path):
    text = tmp_path / "notes.sf2"
    text.write_text("RIFF is a word in music, too")
    with pytest.raises(RenderError, match=r"notes\.sf2 is not a SoundFont"):
        render.render(tune, soundfont=text)


def test_a_truncated_soundfont_is_refused(tune, tmp_path):
    cut = tmp_path / "cut.sf2"
    cut.write_bytes(render.find_soundfont().read_bytes()[:4096])
    with pytest.raises(RenderError, match=r"cannot read the soundfont .*cut\.sf2"):
        render.render(tune, soundfont=cut)


def test_the_soundfont_argument_is_played(tune, audio, tmp_path):
    """The same soundfont with its programs 0 and 19 exchanged plays the organ for the piano."""
    data = render.find_soundfont().read_bytes()
    start = data.index(b"phdr") + 8
    size = int.from_bytes(data[start - 4 : start], "little")
    presets = np.frombuffer(data[start : start + size], np.uint8).reshape(-1, 38).copy()
    program, bank = presets[:, 20:22].view("<u2")[:, 0], presets[:, 22:24].view("<u2")[:, 0]
    piano, organ = ((program == p) & (bank == 0) for p in (0, ORGAN))
    program[piano], program[organ] = ORGAN, 0
    presets[:, 20:22] = program.astype("<u2").view(np.uint8).reshape(-1, 2)
    swapped = tmp_path / "swapped.sf2"
    swapped.write_bytes(data[:start] + presets.tobytes() + data[start + size :])

    played = render.render(tune, RATE, soundfont=swapped)
    assert np.array_equal(played.samples, render.render(tune.with_program(ORGAN), RATE).samples)
    assert not np.array_equal(played.samples[:RATE], audio.samples[:RATE])


# Files


def test_wav_is_16_bits_and_comes_back_as_it_was(audio):
    data = render.encode(audio, "wav")
    assert data[:4] == b"RIFF"
    assert data[34:36] == b"\x10\x00"  # bits a sample
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert rate == RATE
    assert np.abs(samples - audio.samples).max() <= 1 / 32768


@pytest.mark.parametrize("kind, magic", [("mp3", (b"ID3", b"\xff\xfb", b"\xff\xf3")), ("ogg", (b"OggS",))])
def test_compressed_files_hold_the_same_music(audio, kind, magic):
    data = render.encode(audio, kind)
    assert data.startswith(magic)
    assert len(data) < len(render.encode(audio, "wav")) / 3
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert (rate, samples.shape[1]) == (RATE, 2)
    assert len(samples) / rate == pytest.approx(audio.seconds, abs=0.15)
    assert np.sqrt((samples**2).mean()) == pytest.approx(np.sqrt((audio.samples**2).mean()), rel=0.1)


def test_a_minute_of_ogg_does_not_take_python_with_it():
    minute = np.random.default_rng(7).uniform(-0.5, 0.5, (60 * 44100, 2)).astype(np.float32)
    data = render.encode(Audio(minute, 44100), "ogg")  # one write of this length is a segmentation fault
    assert soundfile.info(io.BytesIO(data)).duration == pytest.approx(60, abs=0.1)


@pytest.mark.parametrize("name, format", [("a.wav", "WAV"), ("a.MP3", "MP3"), ("a.ogg", "OGG")])
def test_the_suffix_decides_what_is_written(audio, tmp_path, name, format):
    path = render.write_audio(audio, tmp_path / name)
    assert path == tmp_path / name
    assert soundfile.info(path).format == format


@pytest.mark.parametrize("name, got", [("a.flac", "'flac'"), ("a", "'no suffix'")])
def test_another_suffix_is_refused_and_nothing_written(audio, tmp_path, name, got):
    with pytest.raises(RenderError, match=f"written as .wav, .mp3 or .ogg, got {got}"):
        render.write_audio(audio, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(audio, tmp_path):
    with pytest.raises(RenderError, match=r"cannot write .*gone.a\.wav \(No such file or directory\)"):
        render.write_audio(audio, tmp_path / "gone" / "a.wav")


def test_a_rate_that_mp3_cannot_hold_is_named(audio):
    with pytest.raises(RenderError, match="mp3 cannot hold 96000 samples a second; use 44100"):
        render.encode(replace(audio, sample_rate_hz=96000), "mp3")


def test_an_old_libsndfile_says_that_it_has_no_mp3(audio, monkeypatch):
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"WAV": "", "OGG": ""})
    monkeypatch.setattr(soundfile, "__libsndfile_version__", "1.0.31")
    with pytest.raises(RenderError, match=r"libsndfile 1\.0\.31 cannot write mp3; use wav, or install 1\.1"):
        render.encode(audio, "mp3")


# Instruments


def test_program_names_are_general_midis():
    assert len(PROGRAM_NAMES) == 128
    assert [program_name(p) for p in (0, 40, 73, 127)] == [
        "Acoustic Grand Piano",
        "Violin",
        "Flute",
        "Gunshot",
    ]


def test_each_family_of_eight_begins_where_the_standard_puts_it():
    families = {
        8: "Celesta",
        24: "Acoustic Guitar (nylon)",
        32: "Acoustic Bass",
        56: "Trumpet",
        64: "Soprano Sax",
    }
    assert {program: program_name(program) for program in families} == families


@pytest.mark.parametrize("program", [-1, 128])
def test_a_program_out_of_range_is_refused(program):
    with pytest.raises(OptionError, match=f"program must be 0..127 .*got {program}"):
        program_name(program)


def test_the_selection_names_what_it_plays():
    words = {"Strings": "String", "Harp": "Harp", "Piano": "Piano", "Choir": "Choir", "Brass": "Brass"}
    for name, word in words.items():
        assert word in program_name(INSTRUMENTS[name])
    assert len(set(INSTRUMENTS.values())) == len(INSTRUMENTS)
