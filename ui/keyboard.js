// The on-screen keyboard: it sounds as one plays, records against a metronome, and hands what was played to Python.
// Times of notes are in beats from the first bar; [onset, duration, pitch, velocity].

const LETTERS = ["KeyA", "KeyW", "KeyS", "KeyE", "KeyD", "KeyF", "KeyT", "KeyG", "KeyY", "KeyH", "KeyU", "KeyJ",
  "KeyK", "KeyO", "KeyL", "KeyP", "Semicolon", "Quote"];
const NAMES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
const BLACK = new Set([1, 3, 6, 8, 10]);
const TYPED = 88;       // velocity of a note played on the computer's keys, which know none
const EARLY = 0.3;      // beats before the first bar in which a note is meant for its first beat
const CLICK_LEAD = 0.08; // seconds before the count begins
const name = (pitch) => NAMES[pitch % 12] + (Math.floor(pitch / 12) - 1);

const boards = new WeakMap();

export default function (component) {
  const { parentElement } = component;
  let board = boards.get(parentElement);
  if (!board) boards.set(parentElement, (board = new Board(parentElement, component.data)));
  board.send = (take) => component.setStateValue("take", take);
  board.draw();
  return () => { board.close(); boards.delete(parentElement); };
}

// ---- sound: a plucked tone of a few harmonics, and the metronome's click

class Synth {
  constructor() {
    this.voices = new Map();
  }

  wake() {
    if (!this.context) {
      const context = (this.context = new AudioContext({ latencyHint: "interactive" }));
      this.out = context.createDynamicsCompressor();
      this.out.connect(context.destination);
      this.wave = context.createPeriodicWave(
        new Float32Array(8), new Float32Array([0, 1, 0.45, 0.22, 0.12, 0.07, 0.03, 0.02]));
    }
    if (this.context.state !== "running") this.context.resume();
    return this.context;
  }

  get now() { return this.context ? this.context.currentTime : 0; }

  // what is heard now was asked for that long ago
  get late() { return this.context?.outputLatency || this.context?.baseLatency || 0; }

  tone(pitch, velocity, at) {
    const context = this.wake(), gain = context.createGain(), tone = context.createOscillator();
    const filter = context.createBiquadFilter(), loud = 0.26 * (velocity / 127) ** 1.4;
    const fade = 0.5 + 2.2 * Math.exp(-(pitch - 21) / 30); // low strings ring longer
    tone.setPeriodicWave(this.wave);
    tone.frequency.value = 440 * 2 ** ((pitch - 69) / 12);
    filter.frequency.setValueAtTime(Math.min(900 + velocity * 45, 12000), at);
    filter.frequency.setTargetAtTime(700, at + 0.02, fade);
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(loud, at + 0.006);
    gain.gain.setTargetAtTime(0.0001, at + 0.006, fade);
    tone.connect(filter).connect(gain).connect(this.out);
    tone.start(at);
    tone.stop(at + 12);
    return { tone, gain };
  }

  release(voice, at) {
    voice.gain.gain.cancelScheduledValues(at);
    voice.gain.gain.setTargetAtTime(0, at, 0.07);
    voice.tone.stop(at + 0.6);
  }

  on(pitch, velocity) {
    this.off(pitch);
    this.wake();
    this.voices.set(pitch, this.tone(pitch, velocity, this.now));
  }

  off(pitch) {
    const voice = this.voices.get(pitch);
    if (voice) this.release(voice, this.now);
    this.voices.delete(pitch);
  }

  click(at, first) {
    const context = this.wake(), gain = context.createGain(), tone = context.createOscillator();
    tone.frequency.value = first ? 1760 : 1175;
    gain.gain.setValueAtTime(0.25, at);
    gain.gain.exponentialRampToValueAtTime(0.001, at + 0.05);
    tone.connect(gain).connect(this.out);
    tone.start(at);
    tone.stop(at + 0.06);
    return tone;
  }

  close() { this.context?.close(); }
}

// ---- the board

class Board {
  constructor(host, data) {
    this.host = host;
    this.limits = data.limits;
    this.synth = new Synth();
    this.take = { tempo: 100, bars: 4, meter: 4, snap: 0.25, notes: [], ...data.take };
    this.past = [];            // what Undo goes back to
    this.held = new Map();     // pitch -> { onset, velocity } while a key is down in a recording
    this.pointers = new Map(); // pointer -> pitch
    this.typed = new Map();    // code of a computer's key -> pitch
    this.sustained = new Set();
    this.pedal = false;
    this.mode = "idle";        // idle, record, play
    this.lowest = 60;
    this.find();
    this.fill();
    this.listen();
    this.layout();
    this.midi(false);
    this.say();
  }

  find() {
    for (const part of ["kb", "record", "play", "undo", "clear", "midi", "tempo", "bars", "meter", "snap", "click",
      "layer", "roll", "say", "keys", "down", "up", "hint"])
      this[`$${part}`] = this.host.querySelector(`.${part}`);
  }

  fill() {
    const options = (select, values, label) =>
      select.replaceChildren(...values.map((v) => new Option(label(v), v)));
    options(this.$bars, this.limits.bars, (v) => v);
    options(this.$meter, this.limits.meters, (v) => `${v}/4`);
    [this.$tempo.min, this.$tempo.max] = this.limits.tempo;
    for (const part of ["tempo", "bars", "meter", "snap"]) this[`$${part}`].value = String(this.take[part]);
  }

  // ---- what a person does

  listen() {
    const gone = (this.gone = new AbortController()), signal = gone.signal;
    const when = (where, kind, act, options) => where.addEventListener(kind, act, { signal, ...options });
    when(this.$record, "click", () => (this.mode === "record" ? this.finish() : this.record()));
    when(this.$play, "click", () => (this.mode === "play" ? this.stop() : this.play()));
    when(this.$undo, "click", () => this.undo());
    when(this.$clear, "click", () => this.change({ notes: [] }));
    when(this.$midi, "click", () => this.midi(true));
    when(this.$down, "click", () => this.shift(-12));
    when(this.$up, "click", () => this.shift(12));
    when(this.$tempo, "change", () => this.setTempo());
    for (const part of ["bars", "meter", "snap"])
      when(this[`$${part}`], "change", () => this.set(part, Number(this[`$${part}`].value)));
    when(this.$kb, "keydown", (e) => this.keyDown(e));
    when(this.$kb, "keyup", (e) => this.keyUp(e));
    when(this.$keys, "pointerdown", (e) => this.pointerDown(e));
    when(this.$keys, "contextmenu", (e) => e.preventDefault());
    when(window, "pointermove", (e) => this.pointers.has(e.pointerId) && this.pointerMove(e));
    for (const kind of ["pointerup", "pointercancel"]) when(window, kind, (e) => this.pointerUp(e));
    when(window, "blur", () => this.releaseAll());
    this.sizes = new ResizeObserver(() => this.layout());
    this.sizes.observe(this.$keys);
  }

  setTempo() {
    const [low, high] = this.limits.tempo, asked = Math.round(Number(this.$tempo.value)) || this.take.tempo;
    this.$tempo.value = Math.min(Math.max(asked, low), high);
    this.set("tempo", Number(this.$tempo.value));
  }

  set(part, value) {
    this.take = { ...this.take, [part]: value };
    if (this.take.notes.length) this.send(this.take);
    this.say();
  }

  change(parts) {
    this.past.push(this.take);
    this.take = { ...this.take, ...parts };
    this.send(this.take);
    this.say();
  }

  undo() {
    this.take = { ...this.take, notes: this.past.pop().notes };
    this.send(this.take);
    this.say();
  }

  keyDown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=number], select")) return;
    if (event.code === "KeyZ" || event.code === "KeyX") {
      if (!event.repeat) this.shift(event.code === "KeyZ" ? -12 : 12);
    } else {
      const step = LETTERS.indexOf(event.code);
      if (step < 0) return;
      const pitch = this.lowest + step;
      if (!event.repeat && pitch <= this.limits.pitch[1]) {
        this.typed.set(event.code, pitch);
        this.down(pitch, TYPED);
      }
    }
    event.preventDefault();
    event.stopPropagation(); // the page has its own shortcuts
  }

  keyUp(event) {
    const pitch = this.typed.get(event.code);
    if (pitch !== undefined) this.up(pitch);
    this.typed.delete(event.code);
  }

  pointerDown(event) {
    const key = event.target.closest(".key");
    if (!key || event.button) return;
    key.releasePointerCapture?.(event.pointerId); // a finger may slide to the next key
    this.pointers.set(event.pointerId, Number(key.dataset.pitch));
    this.down(Number(key.dataset.pitch), this.velocityAt(key, event));
  }

  pointerMove(event) {
    const key = this.host.elementFromPoint?.(event.clientX, event.clientY)?.closest?.(".key");
    const before = this.pointers.get(event.pointerId), pitch = key ? Number(key.dataset.pitch) : null;
    if (pitch === before) return;
    if (before !== null) this.up(before);
    this.pointers.set(event.pointerId, pitch);
    if (pitch !== null) this.down(pitch, this.velocityAt(key, event));
  }

  pointerUp(event) {
    const pitch = this.pointers.get(event.pointerId);
    if (pitch !== undefined && pitch !== null) this.up(pitch);
    this.pointers.delete(event.pointerId);
  }

  // softer near the top of a key, louder near its edge, as on a piano
  velocityAt(key, event) {
    const box = key.getBoundingClientRect();
    return Math.round(55 + 60 * Math.min(Math.max((event.clientY - box.top) / box.height, 0), 1));
  }

  // ---- notes

  down(pitch, velocity) {
    if (pitch < this.limits.pitch[0] || pitch > this.limits.pitch[1]) return;
    this.sustained.delete(pitch);
    this.write(pitch);
    this.synth.on(pitch, velocity);
    this.light(pitch, true);
    if (this.mode === "record") {
      const beat = this.beat();
      if (beat > -EARLY && beat < this.length) this.held.set(pitch, { onset: Math.max(beat, 0), velocity });
    }
  }

  up(pitch) {
    this.light(pitch, false);
    if (this.pedal) return this.sustained.add(pitch);
    this.synth.off(pitch);
    this.write(pitch);
  }

  // the key has come up: its note is whole
  write(pitch) {
    const note = this.held.get(pitch);
    if (!note) return;
    this.held.delete(pitch);
    const end = Math.min(Math.max(this.beat(), note.onset + 0.03), this.length);
    if (end > note.onset && this.fresh.length < this.limits.notes)
      this.fresh.push([note.onset, end - note.onset, pitch, note.velocity]);
  }

  setPedal(down) {
    this.pedal = down;
    if (down) return;
    for (const pitch of this.sustained) { this.synth.off(pitch); this.write(pitch); }
    this.sustained.clear();
  }

  releaseAll() {
    for (const pitch of [...this.typed.values(), ...this.pointers.values()]) if (pitch !== null) this.up(pitch);
    this.typed.clear();
    this.pointers.clear();
  }

  // ---- time

  get length() { return this.take.bars * this.take.meter; }

  beat() { return ((this.synth.now - this.synth.late - this.zero) * this.take.tempo) / 60; }

  record() {
    this.stop();
    this.synth.wake();
    this.kept = this.$layer.checked ? this.take.notes : [];
    this.fresh = [];
    this.mode = "record";
    this.clicked = -this.take.meter; // the next beat to be clicked; a bar is counted in
    this.zero = this.synth.now + CLICK_LEAD + (this.take.meter * 60) / this.take.tempo;
    this.timer = setInterval(() => this.tick(), 25);
    this.tick();
    this.say();
    this.frames();
  }

  // clicks are laid out a little ahead, so that a busy page cannot delay them
  tick() {
    const beat = 60 / this.take.tempo;
    while (this.clicked < this.length && this.zero + this.clicked * beat < this.synth.now + 0.15) {
      if (this.clicked < 0 || this.$click.checked)
        this.synth.click(this.zero + this.clicked * beat, this.clicked % this.take.meter === 0);
      this.clicked += 1;
    }
    if (this.beat() >= this.length) this.finish();
  }

  finish() {
    for (const pitch of [...this.held.keys()]) this.write(pitch);
    const notes = [...this.kept, ...this.fresh].sort((a, b) => a[0] - b[0] || a[2] - b[2]);
    const heard = this.fresh.length > 0;
    this.stop();
    if (heard) this.change({ notes: notes.slice(0, this.limits.notes) });
    else this.say("Nothing was played, so nothing was changed.");
  }

  play() {
    this.stop();
    this.synth.wake();
    this.mode = "play";
    this.zero = this.synth.now + 0.05;
    const beat = 60 / this.take.tempo;
    this.sounding = this.shown().map(([onset, duration, pitch, velocity]) => {
      const voice = this.synth.tone(pitch, velocity, this.zero + onset * beat);
      this.synth.release(voice, this.zero + (onset + duration) * beat);
      return voice;
    });
    this.say();
    this.frames();
  }

  stop() {
    clearInterval(this.timer);
    cancelAnimationFrame(this.frame);
    for (const voice of this.sounding ?? []) { voice.tone.stop(); voice.gain.disconnect(); }
    this.sounding = [];
    this.held.clear();
    this.mode = "idle";
    this.say();
  }

  frames() {
    this.frame = requestAnimationFrame(() => {
      if (this.mode === "play" && this.beat() > this.end()) return this.stop();
      this.draw();
      if (this.mode === "record") this.count();
      if (this.mode !== "idle") this.frames();
    });
  }

  end() { return Math.max(...this.shown().map(([onset, duration]) => onset + duration), 0); }

  // ---- what is shown

  // the notes on the grid that was chosen; Python rounds alike
  shown(notes = this.take.notes) {
    const grid = this.take.snap;
    if (!grid) return notes;
    return notes.map(([onset, duration, pitch, velocity]) =>
      [Math.round(onset / grid) * grid, Math.max(Math.round(duration / grid), 1) * grid, pitch, velocity]);
  }

  count() {
    const beat = this.beat(), { meter, bars } = this.take;
    const words = beat < 0
      ? `Counting in: ${Math.min(Math.max(meter + Math.floor(beat) + 1, 1), meter)} of ${meter}`
      : `Recording: bar ${Math.min(Math.floor(beat / meter) + 1, bars)} of ${bars}`;
    if (this.$say.textContent !== words) this.$say.textContent = words;
  }

  say(words) {
    const notes = this.take.notes.length, idle = this.mode === "idle";
    this.$say.textContent = words ?? (notes
      ? `${notes} ${notes === 1 ? "note" : "notes"} at ${this.take.tempo} beats a minute.`
      : "Press Record, wait for the count, and play. Or just play.");
    this.$record.setAttribute("aria-pressed", String(this.mode === "record"));
    this.$record.querySelector(".word").textContent = this.mode === "record" ? "Stop" : "Record";
    this.$play.textContent = this.mode === "play" ? "■ Stop" : "▶ Play back";
    this.$play.disabled = !notes || this.mode === "record";
    this.$undo.disabled = !this.past.length || !idle;
    this.$clear.disabled = !notes || !idle;
    for (const part of ["tempo", "bars", "meter", "snap", "layer"]) this[`$${part}`].disabled = !idle;
    this.$roll.setAttribute("aria-label", notes ? `Piano roll of the ${notes} notes that were played` : "Nothing was played yet");
    this.draw();
  }

  light(pitch, on) {
    this.$keys.querySelector(`[data-pitch="${pitch}"]`)?.classList.toggle("on", on);
  }

  shift(step) {
    const [low, high] = this.limits.pitch;
    this.releaseAll();
    this.lowest = Math.min(Math.max(this.lowest + step, Math.ceil(low / 12) * 12), Math.floor(high / 12) * 12 - 12);
    this.layout(true);
  }

  // as many keys as have room: two octaves, fewer on a telephone
  layout(anew = false) {
    const width = this.$keys.clientWidth, whites = Math.min(Math.max(Math.floor(width / 33), 8), 15);
    if (!width || (!anew && whites === this.whites)) return;
    this.whites = whites;
    const keys = [];
    for (let pitch = this.lowest, at = 0; pitch <= this.limits.pitch[1]; pitch++) {
      const black = BLACK.has(pitch % 12);
      if (at === whites) break;
      const key = document.createElement("button");
      key.type = "button";
      key.tabIndex = -1; // letters play; thirty stops of the Tab key would be in the way
      key.className = black ? "key black" : "key";
      key.dataset.pitch = pitch;
      key.setAttribute("aria-label", name(pitch));
      key.style.left = `${((at - (black ? 0.3 : 0)) / whites) * 100}%`;
      key.style.width = `${((black ? 0.6 : 1) / whites) * 100}%`;
      const letter = document.createElement("i");
      letter.dataset.code = LETTERS[pitch - this.lowest] ?? "";
      key.append(letter);
      if (pitch % 12 === 0) key.append(Object.assign(document.createElement("b"), { textContent: name(pitch) }));
      keys.push(key);
      if (!black) at += 1;
    }
    this.$keys.replaceChildren(...keys);
    this.$down.disabled = this.lowest <= Math.ceil(this.limits.pitch[0] / 12) * 12;
    this.$up.disabled = this.lowest >= Math.floor(this.limits.pitch[1] / 12) * 12 - 12;
    this.letters();
    this.draw();
  }

  // the letters as they stand on this person's keyboard, where the browser knows it
  async letters() {
    const map = await navigator.keyboard?.getLayoutMap?.().catch(() => null);
    const print = (code) => (map?.get(code) ?? { Semicolon: ";", Quote: "'" }[code] ?? code.slice(3)).toUpperCase();
    for (const letter of this.$keys.querySelectorAll("i"))
      letter.textContent = letter.dataset.code ? print(letter.dataset.code) : "";
    const hint = document.createElement("span");
    hint.className = "typed";
    hint.textContent = `Click here once, then the letters ${print("KeyA")} ${print("KeyW")} ${print("KeyS")} ` +
      `${print("KeyE")} ${print("KeyD")} … play, ${print("KeyZ")} and ${print("KeyX")} shift by an octave. `;
    this.$hint.replaceChildren(hint, this.heard ?? "");
  }

  draw() {
    const canvas = this.$roll, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    const scale = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const style = getComputedStyle(this.$kb), colour = (name) => style.getPropertyValue(name).trim();
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const recording = this.mode === "record";
    const live = recording
      ? [...this.fresh, ...[...this.held].map(([pitch, n]) =>
        [n.onset, Math.max(this.beat() - n.onset, 0.05), pitch, n.velocity])]
      : [];
    const notes = [...this.shown(recording ? this.kept : this.take.notes), ...live];
    const beats = Math.max(this.length, ...notes.map(([onset, duration]) => onset + duration));
    const x = (beat) => (beat / beats) * width;
    for (let beat = 0; beat < beats; beat++) {
      pen.fillStyle = colour("--st-text-color");
      pen.globalAlpha = beat % this.take.meter ? 0.1 : 0.3;
      pen.fillRect(x(beat), 0, 1, height);
    }
    const pitches = notes.map((note) => note[2]);
    const middle = pitches.length ? (Math.min(...pitches) + Math.max(...pitches)) / 2 : this.lowest + 12;
    const rows = Math.max(Math.max(...pitches, 0) - Math.min(...pitches, 127) + 5, 16);
    const high = Math.ceil(middle + rows / 2), row = height / (rows + 1);
    for (const [onset, duration, pitch, velocity] of notes) {
      pen.globalAlpha = 0.45 + 0.55 * (velocity / 127);
      pen.fillStyle = colour("--st-primary-color");
      pen.fillRect(x(onset) + 1, (high - pitch) * row, Math.max(x(duration) - 2, 2), Math.max(row - 0.5, 2));
    }
    pen.globalAlpha = 1;
    if (this.mode !== "idle" && this.beat() >= 0) {
      pen.fillStyle = recording ? "#c8402f" : colour("--st-text-color");
      pen.fillRect(x(Math.min(this.beat(), beats)), 0, 2, height);
    }
  }

  // ---- a MIDI keyboard, where the browser has Web MIDI

  async midi(asked) {
    if (!navigator.requestMIDIAccess) return;
    const allowed = await navigator.permissions?.query({ name: "midi" }).catch(() => null);
    if (!asked && allowed?.state !== "granted") {
      this.$midi.hidden = allowed?.state === "denied";
      return;
    }
    try {
      this.access = await navigator.requestMIDIAccess();
    } catch {
      return this.tell("The browser was not allowed to listen to MIDI keyboards.");
    }
    this.$midi.hidden = true;
    const attach = () => {
      const inputs = [...this.access.inputs.values()];
      for (const input of inputs) input.onmidimessage = (event) => this.message(event.data);
      this.tell(inputs.length
        ? `Listening to ${inputs.map((input) => input.name).join(", ")}.`
        : "No MIDI keyboard is connected yet; plug one in.");
    };
    this.access.onstatechange = attach;
    attach();
  }

  tell(words) {
    this.heard = words;
    this.letters();
  }

  message([status, number, value]) {
    const kind = status & 0xf0;
    if (kind === 0x90 && value) this.down(number, value);
    else if (kind === 0x80 || kind === 0x90) this.up(number);
    else if (kind === 0xb0 && number === 64) this.setPedal(value >= 64);
  }

  close() {
    this.stop();
    this.gone.abort();
    this.sizes.disconnect();
    if (this.access) {
      this.access.onstatechange = null;
      for (const input of this.access.inputs.values()) input.onmidimessage = null;
    }
    this.synth.close();
  }
}
