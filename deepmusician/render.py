"""Song to sound: a stereo recording made by FluidSynth, and its WAV, MP3 and OGG files.

The song is laid out on a grid of milliseconds before it is played. FluidSynth's player counts whole milliseconds and
starts anew at every tempo change, so a performance with a few hundred of them would drift by a tenth of a second.
What comes back is checked (finite, not silent) and brought to one peak level. No audio is ever played here.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from deepmusician import fluid, limits, synthesis
from deepmusician.atomic import write_output
from deepmusician.errors import RenderError
from deepmusician.instruments import INSTRUMENTS, program_name
from deepmusician.midi import write_midi
from deepmusician.notes import TEMPO, Song

if TYPE_CHECKING:
    import soundfile

__all__ = [
    "INSTRUMENTS",
    "Audio",
    "encode",
    "find_soundfont",
    "program_name",
    "render",
    "sound_problem",
    "write_audio",
]

log = logging.getLogger(__name__)

PEAK = 10 ** (-1 / 20)  # -1 dB under full scale, so that lossy codecs do not clip
SILENT = 1e-5  # FluidSynth leaves a constant of about 1e-8 where nothing plays
FADE_SECONDS = 0.05
FORMATS = {"wav": ("WAV", "PCM_16"), "mp3": ("MP3", "MPEG_LAYER_III"), "ogg": ("OGG", "VORBIS")}

SOUNDFONT_FOLDERS = (
    "/usr/share/sounds/sf2",  # Debian, Ubuntu
    "/usr/share/sounds/sf3",
    "/usr/share/soundfonts",  # Fedora, Arch
    "/opt/homebrew/share/soundfonts",  # macOS
    "/usr/local/share/soundfonts",
    "~/Library/Audio/Sounds/Banks",
    "~/.local/share/soundfonts",
)
SOUNDFONT_NAMES = (  # best first; .sf3 is compressed and takes seconds to open
    "MuseScore_General.sf2",
    "FluidR3_GM.sf2",
    "GeneralUser-GS.sf2",
    "GeneralUser_GS.sf2",
    "GeneralUser GS.sf2",
    "MuseScore_General.sf3",
    "MuseScore_General_Lite.sf3",
)


@dataclass(frozen=True, eq=False)
class Audio:
    """A stereo recording: `samples` float32 [N, 2], left and right, within -1..1."""

    samples: np.ndarray
    sample_rate_hz: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.shape[1] != 2:
            raise RenderError(f"audio must be stereo [N, 2], got {list(self.samples.shape)}")

    @property
    def seconds(self) -> float:
        """How long it lasts, the tail after the last note included."""
        return len(self.samples) / self.sample_rate_hz


def render(
    song: Song,
    sample_rate_hz: int = 44100,
    soundfont: Path | None = None,
    max_seconds: float | None = None,
    heard: Callable[[np.ndarray], None] | None = None,
) -> Audio:
    """Play a song through FluidSynth, tail included, normalised to a peak of -1 dBFS.

    It happens in a process of its own (see synthesis). The same song, soundfont and library give the same samples.
    `heard` is shown the samples made so far, float32 [n, 2] and not normalised, while the rest is being made: a long
    piece can be listened to from its beginning; what it raises ends the rendering. Raises RenderError where sound
    cannot be made (see `sound_problem`), and for a song without notes, longer than `max_seconds` (else the limit in
    force), or silent.
    """
    if not len(song):
        raise RenderError("a song needs at least one note to be heard, got none")
    if max_seconds is None:
        max_seconds = 60 * limits.current().render_minutes
    if song.seconds > max_seconds:
        raise RenderError(
            f"a song may last {_clock(max_seconds)} to be rendered, this one lasts {_clock(song.seconds)}; "
            "shorten it or raise its tempo"
        )
    lowest, highest = fluid.SAMPLE_RATES_HZ
    if not lowest <= sample_rate_hz <= highest:
        raise RenderError(f"sample_rate_hz must be {lowest}..{highest}, got {sample_rate_hz}; 44100 suits most")
    soundfont = find_soundfont() if soundfont is None else _checked(Path(soundfont))
    midi = write_midi(_in_milliseconds(song))
    samples = synthesis.synthesise(midi, soundfont, sample_rate_hz, song.seconds, heard)
    _check(samples, song.seconds * sample_rate_hz)
    _normalise(samples)
    _fade_out(samples, int(FADE_SECONDS * sample_rate_hz))
    return Audio(samples, sample_rate_hz)


def _in_milliseconds(song: Song) -> Song:
    """The same sounds at the same seconds, with one tempo at which a tick lasts a millisecond."""
    notes = song.notes.copy()
    start = np.round(song.seconds_at(notes["onset"]) * 1000)
    end = np.round(song.seconds_at(notes["onset"] + notes["duration"]) * 1000)
    notes["onset"] = start / 500
    notes["duration"] = np.maximum(end - start, 1) / 500
    return Song(notes, ticks_per_beat=500, tempos=np.array([(0, 120)], TEMPO), tracks=song.tracks)


def _check(samples: np.ndarray, frames: float) -> None:
    """Raise RenderError for sound that ends before its music: FluidSynth says nothing where it stops."""
    if len(samples) < frames:
        raise RenderError(f"the synthesizer stopped after {len(samples):,} of {frames:,.0f} frames; try again")


def _normalise(samples: np.ndarray) -> None:
    """Scale samples in place to the peak level."""
    peak = float(max(samples.max(), -samples.min()))
    if not np.isfinite(peak):
        raise RenderError("the synthesizer returned samples that are not numbers; try another soundfont")
    if peak < SILENT:
        raise RenderError("the song renders to silence; choose another instrument or soundfont")
    samples *= PEAK / peak


def _fade_out(samples: np.ndarray, frames: int) -> None:
    """Fade the end in place: a tail cut while it rings would click."""
    samples[-frames:] *= np.linspace(1, 0, len(samples[-frames:]), dtype=np.float32)[:, None]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def sound_problem() -> str | None:
    """None where sound works, else the sentence that says what is missing and how to install it."""
    try:
        fluid.load(fluid.library())
        soundfont = find_soundfont()
        _soundfile()
    except RenderError as error:
        return str(error)
    synthesis.warm(soundfont)  # who asks is about to listen
    return None


def find_soundfont() -> Path:
    """The General MIDI soundfont to play with.

    $DEEPMUSICIAN_SOUNDFONT, then a good one of the system's, then the small one in pretty_midi's package.
    Raises RenderError if the first is set and wrong, or if there is none.
    """
    if chosen := os.environ.get("DEEPMUSICIAN_SOUNDFONT"):
        return _checked(Path(chosen).expanduser())
    folders = [Path(folder).expanduser() for folder in SOUNDFONT_FOLDERS]
    places = [folder / name for name in SOUNDFONT_NAMES for folder in folders] + _bundled_soundfont()
    for path in places:
        if path.is_file():
            return path
    raise RenderError(
        "sound needs a General MIDI soundfont and none was found; install one with `sudo apt install "
        "fluid-soundfont-gm` (Debian, Ubuntu) or name an .sf2 file in DEEPMUSICIAN_SOUNDFONT"
    )


def _bundled_soundfont() -> list[Path]:
    spec = importlib.util.find_spec("pretty_midi")  # found, not imported
    return [Path(spec.origin).with_name("TimGM6mb.sf2")] if spec and spec.origin else []


def _checked(soundfont: Path) -> Path:
    """`soundfont` itself, if it is a readable file that begins as SoundFont 2 and 3 files do."""
    remedy = "name an .sf2 or .sf3 file, or unset DEEPMUSICIAN_SOUNDFONT"
    try:
        with soundfont.open("rb") as file:
            header = file.read(12)
    except OSError as error:
        raise RenderError(f"the soundfont {soundfont} cannot be read ({error.strerror}); {remedy}") from error
    if header[:4] != b"RIFF" or header[8:] != b"sfbk":
        raise RenderError(f"{soundfont} is not a SoundFont; {remedy}")
    return soundfont


def encode(audio: Audio, kind: str) -> bytes:
    """A whole file in memory: "wav" (16 bits), "mp3" or "ogg" (Vorbis). Raises RenderError."""
    file = BytesIO()
    _write(audio, file, kind)
    return file.getvalue()


def write_audio(audio: Audio, path: str | Path) -> Path:
    """Write a file, whole or not at all, of the kind its suffix names: .wav, .mp3 or .ogg. Raises RenderError."""
    path = Path(path)
    data = encode(audio, path.suffix.lower().removeprefix("."))
    try:
        write_output(path, data)
    except OSError as error:
        raise RenderError(f"cannot write {path} ({error.strerror}); choose another folder or name") from error
    return path


def _write(audio: Audio, file: BinaryIO, kind: str) -> None:
    if kind not in FORMATS:
        raise RenderError(f"audio is written as .wav, .mp3 or .ogg, got {kind or 'no suffix'!r}")
    library = _soundfile()
    container, subtype = FORMATS[kind]
    if container not in library.available_formats():
        raise RenderError(f"libsndfile {library.__libsndfile_version__} cannot write {kind}; use wav, or install 1.1")
    writer = partial(library.SoundFile, mode="w", format=container, subtype=subtype, channels=2)
    try:
        with writer(file, samplerate=audio.sample_rate_hz) as sound:
            # One long write of Vorbis overflows libsndfile's stack and takes Python with it.
            for start in range(0, len(audio.samples), fluid.CHUNK_FRAMES):
                sound.write(audio.samples[start : start + fluid.CHUNK_FRAMES])
    except library.LibsndfileError as error:
        raise RenderError(f"{kind} cannot hold {audio.sample_rate_hz} samples a second; use 44100") from error


def _soundfile() -> soundfile:
    """The soundfile package; its wheels carry libsndfile, other builds look for the system's."""
    try:
        import soundfile
    except OSError as error:
        raise RenderError(
            "audio files need libsndfile and it was not found; install it with `sudo apt install libsndfile1` "
            "(Debian, Ubuntu) or `brew install libsndfile` (macOS)"
        ) from error
    return soundfile
