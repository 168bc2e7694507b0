"""Many songs on one grid, end to end and packed: what windows are cut from, made of data sets.

Knows nothing of windows or models, nor of roll files (see roll_files).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from deepmusician.collected import Collection
from deepmusician.copies import kin, lines
from deepmusician.errors import LibraryError
from deepmusician.library import DataSet, Progress, read_sources
from deepmusician.mapped import Pages, planes_of
from deepmusician.notes import Song
from deepmusician.options import TrainOptions
from deepmusician.roll import (
    KEYS,
    PLANES,
    drop_silence,
    frames_of,
    pack,
    parse_division,
    skyline,
    to_roll,
    top_note,
    unpack,
)  # fmt: skip

PART = 1_000_000  # frames that are looked at together
COUNTED = 4_000_000  # frames of which it is counted how often keys sound, at least
Sources = list[tuple[str, DataSet]]  # data sets by the style each stands for


@dataclass(frozen=True)
class Rolls:
    """Songs end to end: `packed` sounding keys uint8 [F, 11], `lengths` int [S] frames a song.

    Where the planes are wanted, `onset` uint8 [F, 11] packed and `velocity` uint8 [F, 88]. `styles` int [S] is the
    place of each song's style in `style_names`; `sides` [S] says which songs are pinned to a side of the split; songs
    of the same number in `kin` int [S] are near-duplicates.
    """

    packed: np.ndarray
    lengths: np.ndarray
    onset: np.ndarray | None = None
    velocity: np.ndarray | None = None
    styles: np.ndarray = field(default=None)
    style_names: tuple[str, ...] = ("",)
    sides: np.ndarray = field(default=None)
    kin: np.ndarray = field(default=None)

    def __post_init__(self) -> None:
        if self.styles is None:
            object.__setattr__(self, "styles", np.zeros(len(self.lengths), np.int64))
        if self.sides is None:
            object.__setattr__(self, "sides", np.full(len(self.lengths), "", "U8"))
        if self.kin is None:
            object.__setattr__(self, "kin", np.arange(len(self.lengths)))

    @cached_property
    def starts(self) -> np.ndarray:
        """Frame at which each song begins [S]."""
        return np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.int64)

    @property
    def planes(self) -> str:
        """The planes there are, by the name of the last."""
        return PLANES[(self.onset is not None) + (self.velocity is not None)]

    @property
    def density(self) -> float:
        """Sounding keys a frame; a frame has 88."""
        sounding = sum(int(np.bitwise_count(part).sum(dtype=np.int64)) for part in self.parts())
        return sounding / max(len(self.packed), 1)

    def parts(self) -> Iterator[np.ndarray]:
        """`packed`, some frames at a time."""
        for at in range(0, len(self.packed), PART):
            part = self.packed[at : at + PART]
            yield part
            self._pages.looked_at(part.nbytes)

    @cached_property
    def _pages(self) -> Pages:
        return Pages((self.packed, self.onset, self.velocity))

    def __len__(self) -> int:
        return len(self.lengths)

    def sounding(self, song: int) -> np.ndarray:
        """bool [T, 88] of one song."""
        return unpack(self.packed[self._place(song)])

    def frames(self, song: int) -> np.ndarray:
        """uint8 [T, 88 · P] of one song."""
        return self._at(self._place(song))

    def _place(self, song: int) -> slice:
        start = self.starts[song]
        return slice(start, start + self.lengths[song])

    def gather(self, songs: np.ndarray, at: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Frames `at` [B, T] of `songs` [B], silent where not `inside`: uint8 [B, T, 88 · P]."""
        frames = self._at(np.where(inside, at + self.starts[songs][:, None], 0))
        return frames * inside[..., None].astype(np.uint8)

    def _at(self, places: np.ndarray | slice) -> np.ndarray:
        packed = [bits for bits in (self.packed, self.onset) if bits is not None]
        planes = [unpack_frames(bits[places]) for bits in packed]
        if self.velocity is not None:
            planes.append(np.asarray(self.velocity[places]))
        self._pages.looked_at(planes[0].nbytes, 1 if isinstance(places, slice) else len(places))
        return planes[0] if len(planes) == 1 else np.concatenate(planes, -1)

    def frequencies(self, songs: Iterable[int]) -> np.ndarray:
        """Share of the frames of `songs` in which each key sounds, float [88]."""
        songs = np.asarray(songs, np.int64)
        counts, frames = np.zeros(KEYS), 0
        for song in songs[:: max(1, int(self.lengths[songs].sum()) // COUNTED)]:
            sounding = self.sounding(song)
            counts += sounding.sum(0)
            frames += len(sounding)
        return counts / max(frames, 1)

    def only(self, songs: np.ndarray) -> Rolls:
        """Some of the songs, in the order given."""
        if np.array_equal(songs, np.arange(len(self))):
            return self
        starts = self.starts
        places = np.concatenate([np.arange(starts[s], starts[s] + self.lengths[s]) for s in songs])
        planes = {k: v[places] for k in ("packed", "onset", "velocity") if (v := getattr(self, k)) is not None}
        told = {k: getattr(self, k)[songs] for k in ("lengths", "styles", "sides", "kin")}
        return replace(self, **planes, **told)


def unpack_frames(packed: np.ndarray) -> np.ndarray:
    """uint8 [..., 11] to uint8 [..., 88]: all bytes in a row, which is faster than by frame."""
    bits = np.unpackbits(np.ascontiguousarray(packed).reshape(-1))
    return bits.reshape(*packed.shape[:-1], KEYS)


def song_frames(
    song: Song, division: Fraction, voices: str = "all", remove_zeros: bool = False, planes: str = "sounding"
) -> np.ndarray:
    """What a model sees of a song: uint8 [T, 88 · P], perhaps only its melody, perhaps without the silent frames."""
    roll = top_note(to_roll(skyline(song), division)) if voices == "melody" else to_roll(song, division)
    return frames_of(drop_silence(roll) if remove_zeros else roll, planes)


def make_rolls(
    songs: Sequence[Song], division: str = "1/16", voices: str = "all", remove_zeros: bool = False,
    planes: str = "sounding", styles: np.ndarray | None = None, style_names: tuple[str, ...] = ("",),
) -> Rolls:  # fmt: skip
    """Put songs on a grid. Raises LibraryError where no frame sounds."""
    grid = parse_division(division)
    n_planes = PLANES.index(planes) + 1
    parts: list[list[np.ndarray]] = [[] for _ in range(n_planes)]
    for song in songs:  # packed one by one: a whole collection is never held unpacked
        frames = song_frames(song, grid, voices, remove_zeros, planes)
        for i, plane in enumerate(np.split(frames, n_planes, axis=1)):
            parts[i].append(plane if i == 2 else pack(plane))
    lengths = np.array([len(p) for p in parts[0]], np.int64)
    if not lengths.sum():
        raise LibraryError("no note of the music lies on the 88 keys of a piano; choose other files")
    joined = [np.concatenate(part) for part in parts] + [None] * (3 - n_planes)
    return Rolls(joined[0], lengths, joined[1], joined[2], styles, style_names)


def read_rolls(
    options: TrainOptions, data: Sources | DataSet | None = None, progress: Progress | None = None
) -> tuple[tuple[str, ...], Rolls]:
    """The songs of `data`, else of `options.path`, by name and on the grid; those with no playable note left out.

    Several sources are as many styles, and a song's name begins with its style's. Raises LibraryError for one without
    any playable note.
    """
    sources = data or read_sources(options.path, progress)
    if isinstance(sources, DataSet):
        sources = [(sources.name, sources)]
    several = len(sources) > 1
    names = [f"{style}/{name}" if several else name for style, part in sources for name in part.names]
    if any(isinstance(part, Collection) for _, part in sources):
        return _mapped(options, sources, names, progress)
    songs = [song for _, part in sources for song in part.songs]
    styles = np.repeat(np.arange(len(sources)), [len(part.songs) for _, part in sources])
    rolls = make_rolls(
        songs, options.division, options.voices, options.remove_zeros, options.planes, styles,
        tuple(style for style, _ in sources),
    )  # fmt: skip
    sides = np.array([side for _, part in sources for side in part.sides], "U8")
    rolls = replace(rolls, sides=sides, kin=kin(list(map(lines, songs))))
    kept = np.nonzero(rolls.lengths)[0]
    for style in np.setdiff1d(np.arange(len(sources)), styles[kept]):
        raise LibraryError(f"no note of {sources[style][0]} lies on the 88 keys of a piano; leave it out")
    return tuple(names[i] for i in kept), rolls.only(kept)


def _mapped(
    options: TrainOptions, sources: Sources, names: list[str], progress: Progress | None
) -> tuple[tuple[str, ...], Rolls]:
    """As `read_rolls`, of sources with a large data set among them: mapped where it is the only one."""
    parts = [_of_source(options, style, part, progress) for style, part in sources]
    kept = np.flatnonzero(np.concatenate([lengths for _, lengths, _ in parts]))
    styles = np.repeat(np.arange(len(parts)), [len(lengths) for _, lengths, _ in parts])[kept]
    for style in np.setdiff1d(np.arange(len(parts)), styles):
        raise LibraryError(f"no note of {sources[style][0]} lies on the 88 keys of a piano; leave it out")
    planes = [
        None if columns[0] is None else columns[0] if len(columns) == 1 else np.concatenate(columns)
        for columns in zip(*(planes for planes, _, _ in parts), strict=True)
    ]
    first = np.cumsum([0, *(len(kin) for _, _, kin in parts)])
    sides = np.array([side for _, part in sources for side in part.sides], "U8")
    rolls = Rolls(
        planes[0], np.concatenate([lengths for _, lengths, _ in parts])[kept], planes[1], planes[2], styles,
        tuple(style for style, _ in sources), sides[kept],
        np.concatenate([kin + at for at, (_, _, kin) in zip(first, parts, strict=False)])[kept],
    )  # fmt: skip
    return tuple(names[i] for i in kept), rolls


def _of_source(
    options: TrainOptions, style: str, part: DataSet, progress: Progress | None
) -> tuple[list[np.ndarray | None], np.ndarray, np.ndarray]:
    """The planes of one source, the frames of each of its songs, and which are near-duplicates."""
    if not isinstance(part, Collection):
        made = make_rolls(part.songs, options.division, options.voices, options.remove_zeros, options.planes)
        return [made.packed, made.onset, made.velocity], made.lengths, kin(list(map(lines, part.songs)))

    def by_song(songs: Sequence[Song]) -> tuple[list[np.ndarray], np.ndarray]:
        grid, n_planes = parse_division(options.division), PLANES.index(options.planes) + 1
        frames = [song_frames(song, grid, options.voices, options.remove_zeros, options.planes) for song in songs]
        planes = np.split(np.concatenate(frames), n_planes, axis=1)
        return [plane if i == 2 else pack(plane) for i, plane in enumerate(planes)], np.array([*map(len, frames)])

    about = (options.division, options.voices, str(options.remove_zeros), options.planes)
    planes, lengths = planes_of(
        part, parse_division(options.division), PLANES.index(options.planes) + 1, options.remove_zeros,
        by_song if options.voices == "melody" else None, about, progress,
    )  # fmt: skip
    return planes, lengths, part.kin
