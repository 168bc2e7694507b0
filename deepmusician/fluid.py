"""FluidSynth: finding the library, and turning the bytes of a MIDI file into samples.

The system's libfluidsynth comes first, then the one that pygame-ce's wheel carries (pyfluidsynth brings none).
FluidSynth's own player reads the MIDI, timed by the samples it has made, so that the same bytes give the same samples.
This module knows C pointers and nothing of songs, soundfont folders or audio files.

Sources: the FluidSynth API documentation ("Fast file renderer", "Playing a MIDI file from memory").
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import io
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from ctypes import c_char_p, c_int, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np

from deepmusician.errors import RenderError

log = logging.getLogger(__name__)

MISSING_LIBRARY = (
    "sound needs the FluidSynth library and none was found; install it with `sudo apt install libfluidsynth3` "
    "(Debian, Ubuntu) or `brew install fluid-synth` (macOS). Everything but sound works without it"
)
SAMPLE_RATES_HZ = (8000, 96000)  # what FluidSynth accepts, lowest and highest
CHUNK_FRAMES = 4096
TAIL_SECONDS = 10.0  # how long reverb and releases may ring after the last note
QUIET = 10 ** (-70 / 20)  # -70 dB under the loudest sample: the tail is over

LOG_LEVELS = {"panic": 0, "error": 1, "warning": 2, "information": 3, "debug": 4}
_LogFunction = ctypes.CFUNCTYPE(None, c_int, c_char_p, c_void_p)
_one_at_a_time = threading.RLock()

# The same room whichever FluidSynth is installed: its own defaults changed between 2.3 and 2.5.
SETTINGS: dict[str, str | int | float] = {
    "player.timing-source": "sample",
    "synth.lock-memory": 0,  # no real time here: large soundfonts need not be pinned
    "synth.dynamic-sample-loading": 1,  # read only the instruments that play
    "synth.cpu-cores": min(4, os.cpu_count() or 1),  # to the bit what one core plays
    "synth.reverb.room-size": 0.5,
    "synth.reverb.damp": 0.3,
    "synth.reverb.width": 0.8,
    "synth.reverb.level": 0.7,
}


def _system_libraries() -> Iterator[str]:
    """Names and paths under which a system's own libfluidsynth may be loaded."""
    for name in ("fluidsynth", "fluidsynth-3", "libfluidsynth-3"):
        if found := ctypes.util.find_library(name):
            yield found
    yield "libfluidsynth.so.3"  # honours LD_LIBRARY_PATH where no compiler is there to help find_library
    for prefix in (os.environ.get("HOMEBREW_PREFIX", "/opt/homebrew"), "/usr/local"):
        yield f"{prefix}/lib/libfluidsynth.dylib"


def _wheel_libraries() -> Iterator[str]:
    """Paths of the libfluidsynth inside pygame-ce's wheel; pygame itself is not imported."""
    spec = importlib.util.find_spec("pygame")
    if spec is None or spec.origin is None:
        return
    package = Path(spec.origin).parent
    for folder in (package.parent / "pygame_ce.libs", package / ".dylibs"):  # Linux, macOS
        yield from map(str, sorted(folder.glob("libfluidsynth*")))


def _loads(library: str) -> bool:
    """Whether `library` opens and is FluidSynth 2 or newer."""
    try:
        return hasattr(ctypes.CDLL(library), "fluid_player_add_mem")
    except OSError as error:
        log.debug("cannot load %s: %s", library, error)
        return False


def find_library() -> str:
    """Name or path of a libfluidsynth that loads: the system's, else pygame-ce's. Raises RenderError."""
    for candidates in (_system_libraries, _wheel_libraries):
        for library in candidates():
            if _loads(library):
                return library
    raise RenderError(MISSING_LIBRARY)


@contextmanager
def _loader_pointed_at(library: str) -> Iterator[None]:
    """Let pyfluidsynth, which searches while it is imported, find `library` and print nothing about it."""
    search = ctypes.util.find_library
    ctypes.util.find_library = lambda name: library
    try:
        with redirect_stdout(io.StringIO()):  # it announces its find where $CI is set
            yield
    finally:
        ctypes.util.find_library = search


@cache
def library() -> str:
    """What `find_library` finds, looked for once."""
    return find_library()


@cache
def load(library: str) -> ModuleType:
    """pyfluidsynth, bound to that library, with the functions it leaves out. Raises RenderError."""
    with _one_at_a_time:
        with _loader_pointed_at(library):
            import fluidsynth
        _add_missing_functions(fluidsynth)
        _quieten(fluidsynth)
        log.debug("FluidSynth from %s", library)
        return fluidsynth


def _add_missing_functions(fluidsynth: ModuleType) -> None:
    """Bind what pyfluidsynth does not: a player fed from memory, and samples as floats."""
    pointer = c_void_p
    fluidsynth.fluid_player_add_mem = fluidsynth.cfunc(
        "fluid_player_add_mem", c_int, ("player", pointer, 1), ("buffer", c_char_p, 1), ("len", c_size_t, 1)
    )
    left = [("left", pointer, 1), ("left_offset", c_int, 1), ("left_step", c_int, 1)]
    right = [("right", pointer, 1), ("right_offset", c_int, 1), ("right_step", c_int, 1)]
    fluidsynth.fluid_synth_write_float = fluidsynth.cfunc(
        "fluid_synth_write_float", c_int, ("synth", pointer, 1), ("len", c_int, 1), *left, *right
    )


@_LogFunction
def _log_warning(level: int, message: bytes, data: int | None) -> None:
    log.debug("FluidSynth: %s", message.decode(errors="replace"))


def _quieten(fluidsynth: ModuleType) -> None:
    """Keep FluidSynth's remarks off stderr: warnings go to our log, its reports of each step nowhere."""
    set_log_function = fluidsynth.cfunc(
        "fluid_set_log_function",
        c_void_p,
        ("level", c_int, 1),
        ("function", c_void_p, 1),
        ("data", c_void_p, 1),
    )
    for name, level in LOG_LEVELS.items():
        chatter = name in ("information", "debug")
        set_log_function(level, None if chatter else ctypes.cast(_log_warning, c_void_p), None)


def _set(fluidsynth: ModuleType, settings: int, name: str, value: str | int | float) -> None:
    setters = {
        str: fluidsynth.fluid_settings_setstr,
        int: fluidsynth.fluid_settings_setint,
        float: fluidsynth.fluid_settings_setnum,
    }
    encoded = value.encode() if isinstance(value, str) else value
    if setters[type(value)](settings, name.encode(), encoded) != fluidsynth.FLUID_OK:
        raise RenderError(f"FluidSynth refuses {name} = {value}; install FluidSynth 2.2 or newer")


@contextmanager
def _player(
    fluidsynth: ModuleType, midi: bytes, soundfont: Path, sample_rate_hz: int
) -> Iterator[tuple[ModuleType, int]]:
    """A synthesizer with its soundfont, and a player that has begun on `midi`; both are freed at the end."""
    with ExitStack() as free:
        settings = fluidsynth.new_fluid_settings()
        free.callback(fluidsynth.delete_fluid_settings, settings)
        for name, value in {**SETTINGS, "synth.sample-rate": float(sample_rate_hz)}.items():
            _set(fluidsynth, settings, name, value)
        synth = fluidsynth.new_fluid_synth(settings)
        free.callback(fluidsynth.delete_fluid_synth, synth)
        if fluidsynth.fluid_synth_sfload(synth, os.fsencode(soundfont), 1) == fluidsynth.FLUID_FAILED:
            raise RenderError(f"FluidSynth cannot read the soundfont {soundfont}; choose another .sf2 or .sf3 file")
        player = fluidsynth.new_fluid_player(synth)
        free.callback(fluidsynth.delete_fluid_player, player)
        if fluidsynth.fluid_player_add_mem(player, midi, len(midi)) == fluidsynth.FLUID_FAILED:
            raise RenderError(f"FluidSynth cannot take in {len(midi)} bytes of MIDI; is the file whole?")
        fluidsynth.fluid_player_play(player)
        yield fluidsynth, synth


def most_frames(music_seconds: float, sample_rate_hz: int) -> int:
    """How many frames of sound a piece makes at most, its tail included."""
    return int((music_seconds + TAIL_SECONDS) * sample_rate_hz) // CHUNK_FRAMES * CHUNK_FRAMES


def synthesise(
    library: str,
    midi: bytes,
    soundfont: Path,
    sample_rate_hz: int,
    music_seconds: float,
    frames: int,
    send: Callable[[np.ndarray], None],
) -> None:
    """Play `midi`, a whole MIDI file whose last note ends at `music_seconds`, and its tail until that is quiet.

    Each chunk, float32 [n, 2], left and right, not normalised, is sent as it is made, `frames` at most in all.
    Raises RenderError for a library or soundfont it cannot use.
    """
    with _one_at_a_time, _player(load(library), midi, soundfont, sample_rate_hz) as (fluidsynth, synth):
        loudest = 0.0
        chunk = np.zeros((CHUNK_FRAMES, 2), np.float32)
        for start in range(0, frames, CHUNK_FRAMES):
            left = chunk.ctypes.data  # interleaved: the right channel begins one float later
            fluidsynth.fluid_synth_write_float(synth, CHUNK_FRAMES, left, 0, 2, left, 1, 2)
            peak = float(np.abs(chunk).max())
            loudest = max(loudest, peak)
            send(chunk)
            if start >= music_seconds * sample_rate_hz and peak <= loudest * QUIET:
                return
