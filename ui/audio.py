"""Sound and score for the player: made beside the page, sound heard from its first seconds on, each under an address
of its own.

A render runs in a thread, so that notes are seen at once and a rerun interrupts nothing. Its beginning can be played
while the rest is made. Streamlit's media manager calls a large file after its length and three samples of it, so two
renders that differ elsewhere would share one address; `with_identity` therefore puts a hash of the whole near the
beginning of every file.
"""

from __future__ import annotations

import hashlib
import json
import struct
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st
from streamlit import runtime

from deepmusician.errors import DeepMusicianError, RenderError
from deepmusician.notes import Song
from ui import cached

if TYPE_CHECKING:
    import numpy as np

RATE_HZ = 44100
FIRST_SECONDS, GROWTH = 8.0, 4.0  # the beginning that is heard first, and how much longer each next one is
HEADROOM = 0.7  # 3 dB are kept free for what is louder later, so that the volume need not change on the way
KEPT_BYTES = 300_000_000  # of sound in memory; a minute takes 10 MB
KEPT_PAGES = 20  # scores, of some 200 kB
IDENTITY = b"dmid"  # the chunk of a WAV file that holds its hash
OWNER = b"deepmusician\0"  # of the ID3 frame of an MP3 file that does
FMT_END = 36  # where the description of the samples ends in a WAV file of 16 bits


@dataclass(frozen=True)
class Sound:
    """A WAV file, the seconds it lasts, and whether it is the whole piece."""

    wav: bytes
    seconds: float
    whole: bool

    @property
    def hash(self) -> str:
        """What tells it from every other sound."""
        return self.wav[FMT_END + 8 : FMT_END + 24].hex()


class _Superseded(Exception):
    """Ends a render that nobody waits for any more."""


class Job:
    """One song on its way to sound. `latest` is what can be heard by now, `problem` why there will be nothing."""

    def __init__(self, song: Song, gain: float = 0.0) -> None:
        self.song = song
        self.latest: Sound | None = None
        self.problem: str | None = None
        self.done = threading.Event()
        self.superseded = False  # stop: another mix of the song is wanted
        self.gain = gain  # what raw samples are multiplied by; 0 while that is open
        self._peak, self._seen = 0.0, 0  # the loudest of the raw samples shown so far, and how many those were
        self._next = FIRST_SECONDS

    def run(self) -> None:
        """Render the song; beginnings of it are published on the way."""
        from deepmusician.render import PEAK, render

        try:
            audio = render(self.song, RATE_HZ, heard=self._heard)
            if not self.gain or self._peak * self.gain > 1:
                self.gain = PEAK / self._peak
            self._publish(audio.samples * (self.gain * self._peak / PEAK), whole=True)
        except DeepMusicianError as error:
            self.problem = str(error)
        except _Superseded:
            pass
        finally:
            self.done.set()

    def _heard(self, samples: np.ndarray) -> None:
        if self.superseded:
            raise _Superseded  # out of the synthesizer, whose own memory is freed on the way
        new = samples[self._seen :]
        self._seen = len(samples)
        self._peak = max(self._peak, float(abs(new).max(initial=0.0)))
        seconds = len(samples) / RATE_HZ
        if self._next <= seconds < self.song.seconds and self._peak > 0:
            self._next = seconds * GROWTH
            if not self.gain or self._peak * self.gain > 1:
                self.gain = HEADROOM / self._peak
            self._publish(samples * self.gain, whole=False)

    def _publish(self, samples: np.ndarray, whole: bool) -> None:
        from deepmusician.render import Audio, encode

        wav = with_identity(encode(Audio(samples, RATE_HZ), "wav"), "wav")
        self.latest = Sound(wav, len(samples) / RATE_HZ, whole)


class Desk:
    """Makes one sound after the other, the one asked for last first, and keeps those asked for last."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[tuple[str, tuple[int, ...]], Job] = OrderedDict()
        self._waiting: list[Job] = []
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, "sound")  # FluidSynth plays one at a time anyway

    def job(self, song: Song, muted: tuple[int, ...] = ()) -> Job:
        """The job of this song without its muted tracks, begun where it is new."""
        place = (cached.fingerprint(song), muted)
        with self._lock:
            if place not in self._jobs or self._jobs[place].superseded:
                self._jobs[place] = self._begin(song, muted)
            self._jobs.move_to_end(place)
            self._tidy()
            return self._jobs[place]

    def _begin(self, song: Song, muted: tuple[int, ...]) -> Job:
        """A new job. Other mixes of this song that are still being made are dropped: nobody listens to two."""
        same = cached.fingerprint(song)
        for (other, _), job in self._jobs.items():
            job.superseded |= other == same and not job.done.is_set()
        whole = self._jobs.get((same, ()))
        heard = song.select([i for i in range(len(song.tracks)) if i not in muted]) if muted else song
        job = Job(heard, whole.gain if whole else 0.0)  # what goes on sounding is as loud as before
        self._waiting.append(job)
        self._worker.submit(self._work)
        return job

    def _work(self) -> None:
        with self._lock:
            job = self._waiting.pop()
        job.run()

    def _tidy(self) -> None:
        size = lambda job: len(job.latest.wav) if job.latest else 0  # noqa: E731
        while len(self._jobs) > 2 and sum(map(size, self._jobs.values())) > KEPT_BYTES:
            self._jobs.popitem(last=False)


class Page:
    """One score on its way to being engraved: `json` is {pages, times, remarks} as the player reads them."""

    def __init__(self, song: Song) -> None:
        self.song = song
        self.json: bytes | None = None
        self.problem: str | None = None
        self.done = threading.Event()

    def run(self) -> None:
        """Engrave the song."""
        from deepmusician.score import engrave

        try:
            engraving = engrave(self.song)
            told = {"pages": engraving.pages, "times": engraving.times, "remarks": engraving.remarks}
            self.json = json.dumps(told).encode()
        except DeepMusicianError as error:
            self.problem = str(error)
        finally:
            self.done.set()


class Press:
    """Engraves one score after the other, and keeps the last few."""

    def __init__(self) -> None:
        self._pages: OrderedDict[str, Page] = OrderedDict()
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, "score")

    def page(self, song: Song) -> Page:
        """The score of this song, begun where it is new."""
        place = f"{cached.fingerprint(song)} {song.title}"
        with self._lock:
            if place not in self._pages:
                self._pages[place] = page = Page(song)
                self._worker.submit(page.run)
            while len(self._pages) > KEPT_PAGES:
                self._pages.popitem(last=False)
            return self._pages[place]


@st.cache_resource(show_spinner=False)
def press() -> Press:
    """The one press of this server."""
    return Press()


@st.cache_resource(show_spinner=False)
def desk() -> Desk:
    """The one desk of this server."""
    return Desk()


def address(data: bytes, mime: str, place: str) -> str:
    """Where the browser of this session finds `data`, whole or in ranges; `place` names what uses it on the page.

    The address holds until the end of the next run that does not ask for it again.
    """
    path = runtime.get_instance().media_file_mgr.add(data, mime, place)
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}{path}" if base else path


def with_identity(data: bytes, kind: str) -> bytes:
    """The same "wav" or "mp3" with a hash of all of it near its beginning, where every player passes over it."""
    name = hashlib.blake2b(data, digest_size=16).digest()
    if kind == "mp3":
        frame = OWNER + name
        frame = b"PRIV" + struct.pack(">IH", len(frame), 0) + frame
        size = len(frame)
        return b"ID3\x03\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + frame + data
    if kind != "wav" or data[:4] != b"RIFF" or data[12:16] != b"fmt " or data[FMT_END : FMT_END + 4] != b"data":
        raise RenderError(f"a sound is told from others as 16-bit wav or as mp3, got {kind} of {len(data)} bytes")
    chunk = IDENTITY + struct.pack("<I", len(name)) + name
    size = struct.pack("<I", len(data) - 8 + len(chunk))
    return data[:4] + size + data[8:FMT_END] + chunk + data[FMT_END:]
