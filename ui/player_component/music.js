// A piece of music as the player needs it: its notes in columns, its tempo map, its bars. Knows nothing of pixels.

const STEPS = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];

function noteName(pitch) {
  return STEPS[pitch % 12] + (Math.floor(pitch / 12) - 1); // 60 is C4
}

function isBlack(pitch) {
  return [1, 3, 6, 8, 10].includes(pitch % 12);
}

// The last index at which the sorted `values` is at most `x`; -1 where there is none.
function lastAtMost(values, x) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= x) low = middle + 1; else high = middle;
  }
  return low - 1;
}

// Notes in columns, sorted by onset: onset and end in beats, pitch, velocity, track.
class Notes {
  constructor(columns) {
    this.count = columns.onset.length;
    this.onset = Float64Array.from(columns.onset);
    this.end = Float64Array.from(columns.duration, (duration, i) => columns.onset[i] + duration);
    this.pitch = Uint8Array.from(columns.pitch);
    this.velocity = Uint8Array.from(columns.velocity);
    this.track = Uint16Array.from(columns.track);
    this.latest = new Float64Array(this.count); // the latest end among this note and those before it
    let latest = 0;
    for (let i = 0; i < this.count; i++) this.latest[i] = latest = Math.max(latest, this.end[i]);
  }

  // The range [first, last) of notes outside which none sounds between two beats.
  between(from, to) {
    return [lastAtMost(this.latest, from) + 1, lastAtMost(this.onset, to) + 1];
  }

  // The notes that sound at a beat.
  sounding(beat) {
    const found = [], [first, last] = this.between(beat, beat);
    for (let i = first; i < last; i++) if (this.end[i] > beat) found.push(i);
    return found;
  }
}

class Piece {
  constructor(data) {
    this.of = data.of; // the fingerprint of the song
    this.name = data.name;
    this.tracks = data.tracks;
    this.notes = new Notes(data.notes);
    this.ghost = data.ghost ? new Notes(data.ghost) : null;
    this.bars = Float64Array.from(data.bars); // beat at which each begins, and where the last ends
    this.units = data.units; // beats between the beat lines of each bar
    this.noteShade = data.note_shade;
    this.barShade = data.bar_shade;
    this.tempoBeats = data.tempos.map(([beat]) => beat);
    this.tempoBpm = data.tempos.map(([, bpm]) => bpm);
    this.tempoSeconds = [0];
    for (let i = 1; i < this.tempoBeats.length; i++) {
      const span = this.tempoBeats[i] - this.tempoBeats[i - 1];
      this.tempoSeconds.push(this.tempoSeconds[i - 1] + (span * 60) / this.tempoBpm[i - 1]);
    }
    this.beats = data.beats; // when the last note ends
    this.end = this.bars[this.bars.length - 1];
    [this.lowest, this.highest] = this.range();
  }

  secondsAt(beat) {
    const i = Math.max(0, lastAtMost(this.tempoBeats, beat));
    return this.tempoSeconds[i] + ((beat - this.tempoBeats[i]) * 60) / this.tempoBpm[i];
  }

  beatsAt(seconds) {
    const i = Math.max(0, lastAtMost(this.tempoSeconds, seconds));
    return this.tempoBeats[i] + ((seconds - this.tempoSeconds[i]) * this.tempoBpm[i]) / 60;
  }

  barAt(beat) {
    return Math.min(Math.max(0, lastAtMost(this.bars, beat + 1e-9)), this.bars.length - 2);
  }

  // "bar 3, beat 2" in words, both counted from 1.
  place(beat) {
    const bar = this.barAt(beat), within = (beat - this.bars[bar]) / this.units[bar] + 1;
    return `bar ${bar + 1}, beat ${tidy(Math.floor(within * 100 + 1e-6) / 100)}`;
  }

  // The keys to draw: those that are played, and some air around them; two octaves at least.
  range() {
    let low = 127, high = 0;
    for (const notes of [this.notes, this.ghost]) {
      if (notes) for (const pitch of notes.pitch) { low = Math.min(low, pitch); high = Math.max(high, pitch); }
    }
    if (low > high) [low, high] = [48, 72];
    const air = Math.max(2, Math.ceil((24 - (high - low)) / 2));
    return [Math.max(0, low - air), Math.min(127, high + air)];
  }

  trackName(track) {
    return this.tracks[track]?.name ?? "";
  }
}

function tidy(number) {
  return String(Math.round(number * 100) / 100);
}

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds + 1e-6));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
