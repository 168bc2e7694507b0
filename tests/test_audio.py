"""The sound of the player: each under an address of its own, heard from its beginning on, mixed as loud as before."""

import io

import numpy as np
import pytest
import soundfile
from conftest import scale_song
from streamlit.runtime.media_file_storage import MediaFileKind
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage

from deepmusician.errors import RenderError
from deepmusician.notes import NOTE, Song, Track
from deepmusician.render import Audio, encode, sound_problem
from ui.audio import FIRST_SECONDS, Desk, Job, with_identity

needs_sound = pytest.mark.skipif(sound_problem() is not None, reason=f"no sound: {sound_problem()}")
FRAMES = 2**18 + 100  # of stereo in 16 bits: just over the 1 MiB from which on Streamlit looks at samples of a file


def address(data):
    storage = MemoryMediaFileStorage("/media")  # a new one each time, for it keeps what it was given
    return storage.load_and_get_id(data, "audio/wav", MediaFileKind.MEDIA)


def test_a_thousand_pairs_that_differ_in_one_sample_have_two_thousand_addresses():
    plain = bytearray(encode(Audio(np.full((FRAMES, 2), 0.25, np.float32), 44100), "wav"))
    named, unnamed = set(), set()
    for i in range(2000):  # each differs from the one before in one byte, between the parts that Streamlit samples
        plain[2**18 + 97 * i] ^= 1
        named.add(address(with_identity(bytes(plain), "wav")))
        if i < 10:
            unnamed.add(address(bytes(plain)))
    assert len(named) == 2000
    assert len(unnamed) == 1  # the fault that this mends; where it is gone, so may `with_identity` be


def test_the_same_sound_keeps_its_address():
    plain = encode(Audio(np.zeros((44100, 2), np.float32), 44100), "wav")
    assert address(with_identity(plain, "wav")) == address(with_identity(plain, "wav")) != address(plain)


@pytest.mark.parametrize("kind", ["wav", "mp3"])
def test_what_names_a_sound_is_not_heard(kind):
    wave = np.sin(np.arange(44100) / 20)[:, None].repeat(2, 1).astype(np.float32) / 2
    plain = encode(Audio(wave, 44100), kind)
    before, after = (soundfile.read(io.BytesIO(data)) for data in (plain, with_identity(plain, kind)))
    assert before[1] == after[1] == 44100
    np.testing.assert_array_equal(before[0], after[0])


def test_what_is_no_wav_file_of_ours_is_not_named():
    with pytest.raises(RenderError, match="16-bit wav or as mp3, got ogg"):
        with_identity(b"OggS" + bytes(80), "ogg")


def two_tracks():
    """Two voices for 24 seconds, the second twice as loud."""
    rows = [(i, 1, 60 + 12 * t, 50 + 50 * t, 0, False, t) for i in range(48) for t in (0, 1)]
    return Song(np.array(rows, NOTE), tracks=(Track("low"), Track("high")))


@needs_sound
def test_a_long_piece_is_heard_before_the_whole_of_it_is_made(monkeypatch):
    job, seen = Job(scale_song(48, beats=60)), []
    publish = Job._publish
    monkeypatch.setattr(Job, "_publish", lambda *a, **k: (publish(*a, **k), seen.append(job.latest)))
    job.run()
    assert [sound.whole for sound in seen] == [False, True]
    assert FIRST_SECONDS <= seen[0].seconds < FIRST_SECONDS + 0.1 and seen[1].seconds > 30
    first, whole = (soundfile.read(io.BytesIO(sound.wav), dtype="int16")[0] for sound in seen)
    np.testing.assert_allclose(first, whole[: len(first)], atol=1)  # no jump where one takes over from the other
    assert len({sound.hash for sound in seen}) == 2


@needs_sound
def test_a_muted_track_is_not_heard_and_the_rest_is_as_loud_as_before():
    desk, song = Desk(), two_tracks()
    whole = desk.job(song)
    assert whole.done.wait(30)
    low = desk.job(song, muted=(1,))
    assert low.done.wait(30) and low is not whole and low is desk.job(song, muted=(1,))
    alone = Job(song.select([0]))
    alone.run()
    assert low.gain == whole.gain < alone.gain
    assert low.latest.hash != whole.latest.hash


@needs_sound
def test_what_nobody_waits_for_any_more_is_not_made_to_its_end(monkeypatch):
    desk, song = Desk(), two_tracks()
    held = []
    heard = Job._heard

    def begin(job, samples):
        if not held:
            held.append(desk.job(song, muted=(0,)))  # asked for while the first is being made
        heard(job, samples)

    monkeypatch.setattr(Job, "_heard", begin)
    first = desk.job(song)
    assert first.done.wait(30) and first.latest is None and first.problem is None
    assert held[0].done.wait(30) and held[0].latest.whole
    assert desk.job(song) is not first  # begun anew when it is wanted after all


def test_what_cannot_be_rendered_says_why():
    job = Job(Song.from_notes([]))
    job.run()
    assert "at least one note" in job.problem and job.done.is_set()
