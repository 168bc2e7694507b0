"""Song to score: quantised notation as MusicXML (music21), and its engraving as SVG (verovio).

What is played is not what is written: onsets and ends go to the nearest semiquaver, or triplet quaver in beats where
that fits better; a track that spans both hands is written on two staves, overlapping notes in up to four voices. Notes
of the same place and length are one chord. A piece that names no key has that found by ear. Drums are
not written. The module knows nothing of files or sound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from deepmusician.errors import ScoreError
from deepmusician.notes import Song
from deepmusician.scales import find_key

if TYPE_CHECKING:
    from music21 import stream

MAX_NOTES = 6000  # more take minutes to engrave and are no pleasure to read
MAX_MEASURES = 6000  # of all staves; an empty one takes as long as a note or two
MAX_VOICES = 4  # on a staff; a note that finds none free ends the one that has sounded longest
BINARY, TRIPLET = 4, 3  # places in a beat
SPLIT, LOW, HIGH = 60, 55, 65  # a track with notes under LOW and from HIGH on is split at middle C
TELLING = 16  # notes from which on a key is guessed
LENGTHS = [Fraction(n, 4) for n in (16, 12, 8, 6, 4, 3, 2, 1)]  # beats that one note sign can last
SHARPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLATS = ("C", "D-", "D", "E-", "E", "F", "G-", "G", "A-", "A", "B-", "B")


@dataclass(frozen=True)
class Engraving:
    """`pages` of SVG, and from which beat on which notes sound: `times` (beat, ids of elements in the SVG); `remarks`
    on what was guessed or left out."""

    pages: tuple[str, ...]
    times: tuple[tuple[float, tuple[str, ...]], ...]
    remarks: tuple[str, ...] = ()


@dataclass
class _Chord:
    start: Fraction
    end: Fraction
    pitches: list[int] = field(default_factory=list)


def to_musicxml(song: Song) -> bytes:
    """The song as a MusicXML file. Raises ScoreError for a song that cannot be written down."""
    from music21.musicxml.m21ToXml import GeneralObjectExporter

    return GeneralObjectExporter(_notated(song)).parse()


def engrave(song: Song) -> Engraving:
    """The song as printed pages; of a long one its first bars. Raises ScoreError where it cannot be written down."""
    import verovio

    song, remarks = _beginning(song)
    toolkit = verovio.toolkit()
    toolkit.setOptions({"pageWidth": 2400, "adjustPageHeight": True, "scale": 42, "footer": "none", "svgViewBox": True})
    if not toolkit.loadData(to_musicxml(song).decode()):
        raise ScoreError("the score could not be engraved; take it home as MusicXML and open it in a notation program")
    pages = tuple(toolkit.renderToSVG(page) for page in range(1, toolkit.getPageCount() + 1))
    return Engraving(pages, tuple(_times(toolkit.renderToTimemap({}))), (*remarks, *_remarks(song)))


def _beginning(song: Song) -> tuple[Song, tuple[str, ...]]:
    """As many whole bars from the first on as a score may have, and which these are where not all."""
    pitched, starts = ~song.notes["drum"], song.bar_starts()
    onsets = song.notes["onset"][pitched]
    bars = MAX_MEASURES // max(1, 2 * len(np.unique(song.notes["track"][pitched])))  # a track may need two staves
    if len(onsets) > MAX_NOTES:
        bars = min(bars, int(np.searchsorted(starts, onsets[MAX_NOTES], side="right")) - 1)
    if bars >= len(starts):
        return song, ()
    if bars < 1:
        raise ScoreError(f"a score shows {MAX_NOTES:,} notes, and more are in the first bar of this piece")
    end = starts[bars]
    notes = song.notes[song.notes["onset"] < end].copy()
    notes["duration"] = np.minimum(notes["duration"], end - notes["onset"])
    said = f"Bars 1 to {bars:,} of {len(starts):,} are written down: the whole would take too long to engrave."
    return replace(song, notes=notes), (said,)


def _remarks(song: Song) -> Iterator[str]:
    if not len(song.keys) and _signature(song):
        yield "The key signature is guessed from the notes."
    if song.notes["drum"].any():
        yield "Drums are not written down."


def _times(timemap: list[dict]) -> Iterator[tuple[float, tuple[str, ...]]]:
    sounding: set[str] = set()
    for moment in timemap:
        sounding = (sounding - set(moment.get("off", ()))) | set(moment.get("on", ()))
        yield float(moment["qstamp"]), tuple(sorted(sounding))


# ---- what is written


def quantise(song: Song) -> list[tuple[Fraction, Fraction]]:
    """Onset and end of each note, in beats, on the grid of the beat each lies in; a note lasts one place at least."""
    onsets, ends = song.notes["onset"], song.notes["onset"] + song.notes["duration"]
    places = _places(np.concatenate([onsets, ends]))
    written = []
    for onset, end in zip(onsets.tolist(), ends.tolist(), strict=True):
        start = _snap(onset, places)
        written.append((start, max(_snap(end, places), start + Fraction(1, places[int(start)]))))
    return written


def _places(times: np.ndarray) -> dict[int, int]:
    """Into how many places each beat is divided: whichever leaves less to move."""
    beats = np.floor(times).astype(int)
    errors = {n: np.abs(times * n - np.round(times * n)) / n for n in (BINARY, TRIPLET)}
    places: dict[int, int] = defaultdict(lambda: BINARY)
    for beat in np.unique(beats).tolist():
        here = beats == beat
        if errors[TRIPLET][here].sum() < 0.5 * errors[BINARY][here].sum():
            places[beat] = TRIPLET
    return places


def _snap(beat: float, places: dict[int, int]) -> Fraction:
    n = places[int(beat)]
    return Fraction(round(beat * n), n)


def _notated(song: Song) -> stream.Score:
    from music21 import layout, metadata, stream, tempo

    pitched = ~song.notes["drum"]
    if not pitched.any():
        raise ScoreError("a score needs at least one pitched note, got none; drums are not written")
    if pitched.sum() > MAX_NOTES:
        raise ScoreError(
            f"a score may have {MAX_NOTES:,} notes, this piece has {pitched.sum():,}; take it home as MIDI, which any "
            "notation program opens"
        )
    measures = len(song.bar_starts()) * len(np.unique(song.notes["track"][pitched]))
    if measures > MAX_MEASURES:
        few = f"a score may have {MAX_MEASURES:,} bars of all its tracks"
        raise ScoreError(f"{few}, this piece has {measures:,}; take it home as MIDI")
    score = stream.Score()
    score.metadata = metadata.Metadata(title=song.title or "Untitled")
    written = quantise(song)
    for t, track in enumerate(song.tracks):
        chosen = np.flatnonzero(pitched & (song.notes["track"] == t)).tolist()
        if not chosen:
            continue
        staves = _staves(song, chosen)
        parts = [
            _part(song, [(*written[i], int(song.notes["pitch"][i])) for i in staff], track.name) for staff in staves
        ]
        if not score.parts:
            parts[0].measure(1).insert(0, tempo.MetronomeMark(number=round(float(song.tempos["bpm"][0]))))
        for part in parts:
            score.insert(0, part)
        if len(parts) > 1:
            score.insert(0, layout.StaffGroup(parts, symbol="brace", barTogether=True))
    return score


def _signature(song: Song) -> int:
    """Sharps of the key signature, flats below 0: the song's own, else that of the key found by ear in enough notes."""
    if len(song.keys):
        return int(song.keys["fifths"][0])
    key = find_key(song) if (~song.notes["drum"]).sum() >= TELLING else None
    if key is None:
        return 0
    relative = key[0] + (3 if key[1] == "minor" else 0)  # a minor key has the signature of the major one above it
    sharps = 7 * relative % 12
    return sharps if sharps <= 6 else sharps - 12


def _staves(song: Song, chosen: list[int]) -> list[list[int]]:
    """The notes of a track, on two staves where both hands are needed."""
    pitch = song.notes["pitch"]
    if not (pitch[chosen].min() < LOW and pitch[chosen].max() >= HIGH):
        return [chosen]
    return [[i for i in chosen if pitch[i] >= SPLIT], [i for i in chosen if pitch[i] < SPLIT]]


def _bars(song: Song) -> list[tuple[Fraction, Fraction, int, int]]:
    """Start, end, numerator and denominator of each bar; the last is whole."""
    starts = song.bar_starts()
    meters = song.meters[np.searchsorted(song.meters["beat"], starts + 1e-9, side="right") - 1]
    beats = [Fraction(float(start)).limit_denominator(96) for start in starts]
    last = beats[-1] + Fraction(4 * int(meters["numerator"][-1]), int(meters["denominator"][-1]))
    signs = zip(meters["numerator"].tolist(), meters["denominator"].tolist(), strict=True)
    return [(a, b, n, d) for a, b, (n, d) in zip(beats, [*beats[1:], last], signs, strict=True)]


def _part(song: Song, notes: list[tuple[Fraction, Fraction, int]], name: str) -> stream.Part:
    from music21 import clef, key, meter, stream

    part = stream.Part()
    part.partName = name or None
    bars = _bars(song)
    voices = _voices(notes, bars[-1][1])
    fifths = _signature(song)
    names = FLATS if fifths < 0 else SHARPS
    low = np.mean([pitch for *_, pitch in notes]) < SPLIT
    sign = None
    for number, (start, end, numerator, denominator) in enumerate(bars, 1):
        measure = stream.Measure(number=number)
        if number == 1:
            measure.insert(0, clef.BassClef() if low else clef.TrebleClef())
            measure.insert(0, key.KeySignature(fifths))
        if sign != (numerator, denominator):
            sign = numerator, denominator
            measure.insert(0, meter.TimeSignature(f"{numerator}/{denominator}"))
        _fill(measure, [_within(voice, start, end) for voice in voices], start, end, names)
        part.append(measure)
    return part


def _voices(notes: list[tuple[Fraction, Fraction, int]], end: Fraction) -> list[list[_Chord]]:
    """Chords that do not overlap within a voice: each goes to the first voice that is free, the highest first."""
    chords: dict[tuple[Fraction, Fraction], _Chord] = {}
    for start, stop, pitch in notes:
        chord = chords.setdefault((start, stop), _Chord(start, min(stop, end)))
        if pitch not in chord.pitches:
            chord.pitches.append(pitch)
    voices: list[list[_Chord]] = []
    for chord in sorted(chords.values(), key=lambda c: (c.start, -max(c.pitches))):
        if chord.start >= chord.end:
            continue
        free = next((voice for voice in voices if voice[-1].end <= chord.start), None)
        if free is None and len(voices) < MAX_VOICES:
            voices.append(free := [])
        if free is None:
            free = min(voices, key=lambda voice: voice[-1].start)
            if free[-1].start == chord.start:  # all began here: the note joins a chord
                free[-1].pitches += [p for p in chord.pitches if p not in free[-1].pitches]
                continue
            free[-1].end = chord.start
        free.append(chord)
    return voices


def _within(voice: list[_Chord], start: Fraction, end: Fraction) -> list[_Chord]:
    return [chord for chord in voice if chord.start < end and chord.end > start]


def _fill(
    measure: stream.Measure, voices: list[list[_Chord]], start: Fraction, end: Fraction, names: tuple[str, ...]
) -> None:
    """Write what each voice plays between two bar lines; rests only in the first."""
    from music21 import stream

    used = [voice for voice in voices[1:] if voice]
    for number, voice in enumerate([voices[0], *used], 1):
        target = stream.Voice(id=str(number)) if used else measure
        at = start
        for chord in voice:
            _rest(target, at, max(chord.start, start), start, hidden=number > 1)
            _write(target, chord, start, end, names)
            at = min(chord.end, end)
        _rest(target, at, end, start, hidden=number > 1)
        if used:
            measure.insert(0, target)


def _rest(target: stream.Stream, start: Fraction, end: Fraction, bar: Fraction, hidden: bool) -> None:
    from music21 import note

    for at, length in _signs(start, end):
        rest = note.Rest(quarterLength=length)
        rest.style.hideObjectOnPrint = hidden
        target.insert(at - bar, rest)


def _write(target: stream.Stream, chord: _Chord, start: Fraction, end: Fraction, names: tuple[str, ...]) -> None:
    from music21 import chord as chords
    from music21 import note, tie

    signs = list(_signs(max(chord.start, start), min(chord.end, end)))
    for i, (at, length) in enumerate(signs):
        spelt = [f"{names[p % 12]}{p // 12 - 1}" for p in sorted(chord.pitches)]
        one = note.Note(spelt[0]) if len(spelt) == 1 else chords.Chord(spelt)
        one.quarterLength = length
        before, after = i > 0 or chord.start < start, i < len(signs) - 1 or chord.end > end
        if before or after:
            one.tie = tie.Tie("continue" if before and after else "stop" if before else "start")
        target.insert(at - start, one)


def _signs(start: Fraction, end: Fraction) -> Iterator[tuple[Fraction, Fraction]]:
    """The note signs that fill a time, tied: up to the next beat first, then as long ones as there are."""
    while start < end:
        rest, within = end - start, start - int(start)
        to_beat = 1 - within
        if within and rest > to_beat:
            length = to_beat
        elif rest < 1 or within:
            length = rest
        else:
            length = next(x for x in LENGTHS if x <= rest)
            if rest % Fraction(1, 4):
                length = Fraction(int(length))  # a triplet at the end stands in a beat of its own
        yield start, length
        start += length
