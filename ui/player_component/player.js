// The player: one transport for one piece, or for several that play in turn from the same place.

const POLL = 250; // milliseconds until Python is asked again for what is on its way
const TRIES = 3; // how often a sound that could not be fetched is asked for anew

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children); // strings become text, never HTML
  return element;
}

class Player {
  constructor(shell, id) {
    this.shell = shell;
    this.id = id;
    this.parts = []; // {piece, roll, sound, score, muted, elements} of each piece
    this.active = 0;
    this.looping = false;
    this.region = null;
    this.wish = { want: false, score: false, turn: 0 };
    this.tries = 0;
    this.find = (selector) => shell.querySelector(selector);
    this.wire();
    POST.players.set(id, this);
    this.resizing = new ResizeObserver(() => this.refit());
    this.resizing.observe(shell);
  }

  // ---- what Python says
  update(data, send) {
    this.send = send;
    this.data = data;
    const same = this.parts.length === data.pieces.length &&
      this.parts.every((part, i) => part.stamp === data.pieces[i].stamp);
    if (!same) this.build(data);
    this.colours = new Colours(this.shell);
    this.legends();
    this.refit();
    if (POST.news.has(this.id)) this.hear(POST.news.get(this.id));
    this.showState();
  }

  build(data) {
    const old = this.parts, kept = new Map(old.map((part) => [part.piece.of, part]));
    this.active = Math.min(this.active, data.pieces.length - 1);
    const playing = this.part?.sound.wanted, before = this.part?.piece.of;
    this.parts = data.pieces.map((piece, i) => this.part_of(new Piece(piece), piece, kept.get(piece.of), i));
    for (const part of old) if (!this.parts.some((other) => other.sound === part.sound)) part.sound.clear();
    this.find(".pieces").replaceChildren(...this.parts.map((part) => part.box));
    this.shell.classList.toggle("several", this.parts.length > 1);
    this.shell.setAttribute("aria-label", `Player of ${data.pieces.map((piece) => piece.name).join(" and ")}`);
    if (this.part.piece.of !== before) {
      this.wish = { want: false, score: this.wish.score, turn: this.wish.turn };
      const region = before ? null : this.left(this.part.piece)?.region ?? null;
      this.select(region, false);
      if (region && this.data.select) setTimeout(() => this.select(region), 0); // Python has forgotten it, too
      this.active = 0;
    } else if (playing) this.part.sound.wanted = true;
    this.switches();
    if (this.wish.score) setTimeout(() => this.ask(), 0);
  }

  // One piece with its roll; sound and view of the same song before are kept.
  part_of(piece, data, before, i) {
    const [still, moving] = [make("canvas", { role: "img" }), make("canvas", { "aria-hidden": "true" })];
    still.setAttribute("aria-label", `Piano roll of ${piece.name}, ${piece.notes.count} notes`);
    const roll_box = make("div", {
      class: "roll", tabindex: "0", role: "application", "aria-roledescription": "piano roll",
      "aria-label": `Piano roll of ${piece.name}: space plays, arrows move, plus and minus zoom, brackets set a region`,
    }, still, moving);
    const tip = make("div", { class: "tip", hidden: "" });
    roll_box.append(tip);
    const thumb = make("div", { class: "thumb" }), overview = make("div", { class: "overview" }, thumb);
    const legend = make("div", { class: "legend" }), score_box = make("div", { class: "score", hidden: "", tabindex: "0" });
    score_box.setAttribute("aria-label", `Score of ${piece.name}`);
    const box = make("div", { class: "piece" });
    if (this.data.pieces.length > 1) box.append(make("h4", {}, piece.name));
    box.append(roll_box, overview, legend, score_box);
    const part = { piece, stamp: data.stamp, box, roll_box, tip, thumb, overview, legend, score: new Score(score_box) };
    const left = before ? null : this.left(piece);
    part.muted = before?.muted ?? new Set(left?.muted);
    part.sound = before?.sound ?? new Sound();
    part.sound.on = { change: () => this.changed(), failed: () => this.again() };
    part.roll = new Roll(roll_box, [still, moving], piece, {
      seek: (beat) => this.clicked(i, beat),
      select: (from, to) => this.select(to > from ? [from, to] : null),
      scroll: () => this.redraw(),
      hover: (note, x, y) => this.tell(part, note, x, y),
    });
    part.roll.muted = part.muted;
    if (before && before.piece.end === piece.end) [part.roll.start, part.roll.span] = [before.roll.start, before.roll.span];
    else if (left) [part.roll.start, part.roll.span] = [left.start, left.span];
    part.roll.region = this.region;
    this.drags(part);
    return part;
  }

  hear(news) {
    this.news = news;
    this.parts.forEach((part, i) => {
      if (news.of[i] !== part.piece.of) return;
      const sound = news.sounds[i], score = news.scores[i];
      if (sound && String(sound.muted) === String(this.mutedOf(part))) part.sound.take(sound);
      part.unreadable = score?.problem ?? null;
      if (score?.url) part.score.take(score).then(() => this.redraw(), (error) => this.say(error.message));
    });
    clearTimeout(this.polling);
    if (news.pending) this.polling = setTimeout(() => this.ask(), POLL);
    if (news.play && POST.played?.get(this.id) !== news.play) {
      (POST.played ??= new Map()).set(this.id, news.play);
      this.play();
    } else if (this.wish.turn < news.turn) this.wish.turn = news.turn;
    this.showState();
  }

  // ---- what Python is asked
  ask(changes = {}) {
    Object.assign(this.wish, changes);
    this.wish.turn += 1;
    POST.ask.get(this.id)?.({
      ...this.wish,
      first: this.active,
      of: this.parts.map((part) => part.piece.of),
      muted: this.parts.map((part) => this.mutedOf(part)),
    });
  }

  again() {
    if (this.tries++ < TRIES) this.ask({ want: true });
    else this.say("The sound could not be fetched. Reload the page.");
  }

  mutedOf(part) {
    return part.muted.size < part.piece.tracks.filter((track) => track.count).length ? [...part.muted].sort((a, b) => a - b) : [];
  }

  // ---- transport
  get part() {
    return this.parts[this.active];
  }

  get beat() {
    return Math.min(this.part.piece.beatsAt(this.part.sound.time), Math.max(this.part.piece.end, this.part.piece.beats));
  }

  get playing() {
    return this.part.sound.wanted;
  }

  play() {
    if (this.data.playable === false) return;
    for (const other of POST.players.values()) if (other !== this) other.pause();
    const { piece, sound } = this.part;
    if (this.region && (this.beat < this.region[0] || this.beat >= this.region[1])) this.seek(this.region[0]);
    else if (this.beat >= piece.beats - 1e-6) this.seek(0);
    this.settings();
    if (!sound.ready && !this.news?.pending) this.ask({ want: true });
    sound.play();
    this.run();
  }

  pause() {
    this.part.sound.pause();
  }

  toggle() {
    if (this.playing) this.pause(); else this.play();
  }

  seek(beat) {
    const { piece, sound } = this.part, place = Math.min(Math.max(0, beat), piece.end);
    sound.seek(piece.secondsAt(place));
    for (const { roll } of this.parts) roll.follow(place);
    this.redraw();
  }

  clicked(i, beat) {
    if (this.data.select === "bar") {
      const { piece } = this.parts[i], bar = piece.barAt(beat);
      this.send("region", { of: piece.of, start: piece.bars[bar], end: piece.bars[bar + 1] });
    }
    if (i !== this.active) this.turn(i);
    this.seek(beat);
  }

  // Let another piece play on from the same place.
  turn(i) {
    const beat = this.beat, playing = this.playing;
    this.pause();
    this.active = i;
    this.seek(beat);
    if (playing) this.play();
    this.showState();
    this.redraw();
  }

  select(region, tell = true) {
    this.region = region;
    for (const { roll } of this.parts) roll.region = region;
    if (region) this.looping = true;
    if (region && this.playing && (this.beat < region[0] || this.beat >= region[1])) this.seek(region[0]);
    if (tell && this.data.select) {
      this.send("region", region && { of: this.part.piece.of, start: region[0], end: region[1] });
    }
    if (tell) this.say(region ? `Selected from ${this.part.piece.place(region[0])} up to ${this.part.piece.place(region[1])}.` : "");
    this.showState();
    this.redraw();
  }

  settings() {
    for (const { sound, muted, piece } of this.parts) {
      const silent = muted.size && muted.size >= piece.tracks.filter((track) => track.count).length;
      sound.set(Number(this.find(".speed").value), silent ? 0 : Number(this.find(".volume").value));
    }
  }

  mute(part, track) {
    if (!part.muted.delete(track)) part.muted.add(track);
    this.legends();
    this.settings();
    this.redraw();
    if (part.sound.ready || this.wish.want || this.news?.pending) this.ask({ want: true });
  }

  // Something about a sound changed: a second keeper of the loop, for a page in the background draws no frames.
  changed() {
    this.loop();
    if (this.playing) this.run();
    if (this.part?.sound.ready) this.tries = 0;
    this.settings();
    this.showState();
    this.redraw();
  }

  loop() {
    if (!this.looping || !this.part) return;
    const { piece, sound } = this.part, [from, to] = this.region ?? [0, piece.end];
    const over = sound.ready && sound.now.whole && sound.audio.ended;
    if ((sound.wanted && this.beat >= to) || over) {
      this.seek(from);
      if (over) sound.play();
    }
  }

  // ---- drawing
  run() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.paint();
      if (this.playing && this.shell.isConnected) this.run();
    });
  }

  redraw() {
    this.stale = true;
    this.run();
  }

  paint() {
    if (!this.part || !this.colours) return;
    this.loop();
    const { beat, playing } = this;
    if (playing) for (const { roll } of this.parts) roll.follow(beat);
    this.parts.forEach((part, i) => {
      if (!part.roll.width) return;
      if (this.stale) this.paintStill(part);
      part.roll.drawMoving(Math.min(beat, part.piece.end), i === this.active && (playing || beat > 0));
      part.score.follow(beat, playing && i === this.active);
    });
    this.stale = false;
    this.showPlace(beat);
  }

  paintStill({ roll, piece, thumb }) {
    roll.draw(this.colours);
    thumb.style.left = `${(100 * roll.start) / piece.end}%`;
    thumb.style.width = `${(100 * roll.span) / piece.end}%`;
  }

  refit() {
    for (const { roll, roll_box, piece } of this.parts) {
      const width = roll_box.clientWidth;
      if (!width) continue;
      const room = width < 480 ? [190, 280] : [230, 400];
      const height = Math.min(room[1], Math.max(room[0], (piece.highest - piece.lowest + 1) * 7 + AXIS));
      roll_box.style.height = `${height + 2}px`;
      roll.fit(width, height);
    }
    this.redraw();
  }

  showPlace(beat) {
    const { piece } = this.part, seek = this.find(".seek"), place = piece.place(Math.floor(beat * 4 + 1e-6) / 4);
    seek.max = piece.end;
    seek.value = beat;
    const text = `${clock(piece.secondsAt(beat))} / ${clock(piece.secondsAt(piece.beats))} · bar ${piece.barAt(beat) + 1}`;
    const output = this.find(".clock");
    if (output.textContent !== text) output.textContent = text;
    if (seek.getAttribute("aria-valuetext") !== place) seek.setAttribute("aria-valuetext", place);
  }

  showState() {
    if (!this.part) return;
    const { sound } = this.part, playing = sound.wanted, play = this.find(".play");
    this.shell.classList.toggle("playing", playing);
    this.shell.classList.toggle("waiting", sound.waiting);
    play.setAttribute("aria-label", playing ? "Pause" : "Play");
    play.setAttribute("aria-busy", String(sound.waiting));
    play.disabled = this.data.playable === false;
    this.find(".loop").setAttribute("aria-pressed", String(this.looping));
    this.find(".unselect").hidden = !this.region;
    this.find(".scored").setAttribute("aria-pressed", String(this.wish.score));
    this.parts.forEach((part, i) => {
      part.box.classList.toggle("active", i === this.active);
      part.score.box.hidden = !this.wish.score || !part.score.hash;
      this.find(".switch").children[i]?.setAttribute("aria-pressed", String(i === this.active));
    });
    const waits = this.waits();
    if (waits || this.waited) this.say(waits);
    this.waited = waits;
    // for those who watch from outside, such as a screen reader's script or a test
    this.shell.dataset.state = sound.waiting ? "waiting" : playing ? "playing" : "paused";
    this.shell.dataset.ready = String(sound.ready);
  }

  // What is on its way, in words.
  waits() {
    const problem = this.news?.problem;
    if (problem) return problem;
    if (this.part.sound.waiting) return "The sound is on its way …";
    if (this.wish.score) {
      const unreadable = this.parts.find((part) => part.unreadable);
      if (unreadable) return unreadable.unreadable;
      if (this.parts.some((part) => !part.score.hash)) return "Engraving the score …";
    }
    const late = this.parts.find((part) => part.sound.now && String(part.sound.now.muted) !== String(this.mutedOf(part)));
    if (late) return "The sound without the muted tracks is on its way …";
    return this.wish.score ? this.parts.find((part) => part.score.remarks)?.score.remarks ?? "" : "";
  }

  say(text) {
    const said = this.find(".said");
    if (said.textContent !== text) said.textContent = text;
  }

  tell(part, note, x, y) {
    this.redraw();
    part.tip.hidden = note < 0;
    if (note < 0) return;
    const { notes, tracks } = part.piece, track = notes.track[note], onset = notes.onset[note], end = notes.end[note];
    const seconds = part.piece.secondsAt(onset), length = part.piece.secondsAt(end) - seconds;
    const value = part.piece.noteShade?.[note];
    part.tip.textContent = [
      tracks[track]?.drum ? `Drum ${notes.pitch[note]}` : noteName(notes.pitch[note]),
      `${part.piece.place(onset)} (${seconds.toFixed(2)} s)`,
      `${tidy(end - onset)} ${tidy(end - onset) === "1" ? "beat" : "beats"} (${length.toFixed(2)} s)`,
      `velocity ${notes.velocity[note]}`,
      ...(value === null || value === undefined ? [] : [`${this.data.shade_label || "shade"} ${tidy(value)}`]),
      ...(part.piece.trackName(track) ? [part.piece.trackName(track)] : []),
    ].join(" · ");
    const width = part.tip.offsetWidth, height = part.tip.offsetHeight;
    part.tip.style.left = `${Math.max(2, Math.min(x + 12, part.roll.width - width - 4))}px`;
    part.tip.style.top = `${y > height + 14 ? y - height - 10 : y + 16}px`;
  }

  legends() {
    for (const part of this.parts) {
      const entries = [], { piece } = part;
      if ((piece.noteShade || piece.barShade) && this.data.shade_label) entries.push(this.scale());
      if (piece.ghost) entries.push(make("span", { class: "before" }, make("i", { class: "faint" }), "before"));
      const played = piece.tracks.map((track, i) => ({ ...track, i })).filter((track) => track.count);
      if (played.length > 1) entries.push(...played.map((track) => this.entry(part, track, !piece.noteShade)));
      part.legend.replaceChildren(...entries);
    }
  }

  scale() {
    const bar = make("i");
    bar.style.background = this.colours.gradient();
    return make("span", { class: "scale" }, `${this.data.shade_label}: low`, bar, "high");
  }

  entry(part, track, coloured) {
    const button = make("button", { type: "button", "aria-pressed": String(part.muted.has(track.i)), title: "Mute, or hear again" });
    const name = track.name || `Track ${track.i + 1}`, dot = make("i", { class: "dot" });
    if (coloured) dot.style.background = this.colours.track(track.i);
    button.append(...(coloured ? [dot] : []), make("span", {}, name));
    button.setAttribute("aria-label", `Mute ${name}`);
    button.addEventListener("click", () => {
      this.mute(part, track.i);
      part.legend.querySelector(`[aria-label="${CSS.escape(`Mute ${name}`)}"]`)?.focus();
    });
    return button;
  }

  switches() {
    const box = this.find(".switch");
    box.hidden = this.parts.length < 2;
    box.replaceChildren(...this.parts.map(({ piece }, i) => {
      const button = make("button", { type: "button" }, `${String.fromCharCode(65 + i)} ${piece.name}`);
      button.addEventListener("click", () => this.turn(i));
      return button;
    }));
  }

  // ---- hands
  wire() {
    const on = (selector, event, act) => this.find(selector).addEventListener(event, act);
    on(".play", "click", () => this.toggle());
    on(".seek", "input", (event) => this.seek(Number(event.target.value)));
    on(".speed", "change", () => this.settings());
    on(".volume", "input", () => this.settings());
    on(".loop", "click", () => this.setLoop(!this.looping));
    on(".unselect", "click", () => this.select(null));
    on(".out", "click", () => this.part.roll.zoom(1.5));
    on(".in", "click", () => this.part.roll.zoom(1 / 1.5));
    on(".all", "click", () => this.part.roll.look(0, this.part.piece.end));
    on(".scored", "click", () => this.toggleScore());
    on(".hints", "click", () => this.hints());
    this.shell.addEventListener("keydown", (event) => this.key(event));
  }

  setLoop(looping) {
    this.looping = looping;
    this.showState();
  }

  toggleScore() {
    this.ask({ score: !this.wish.score });
    this.showState();
    this.redraw();
  }

  hints() {
    const help = this.find(".help");
    help.hidden = !help.hidden;
    this.find(".hints").setAttribute("aria-expanded", String(!help.hidden));
  }

  key(event) {
    const kind = event.target.localName;
    if (kind === "input" && event.target.type === "range" && event.key === " ") { /* space means play here too */ }
    else if (kind === "input" || kind === "select") return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (kind === "button" && (event.key === " " || event.key === "Enter")) return; // the button's own
    const act = this.acts()[event.key];
    if (!act) return;
    act(event.shiftKey);
    event.preventDefault();
    event.stopPropagation();
  }

  acts() {
    const { piece, roll } = this.part, { beat } = this, bar = piece.barAt(beat), unit = piece.units[bar];
    const mark = this.region ?? [0, piece.end], volume = (step) => {
      this.find(".volume").value = Number(this.find(".volume").value) + step;
      this.settings();
    };
    return {
      " ": () => this.toggle(),
      ArrowRight: (shift) => this.seek(shift ? piece.bars[bar + 1] : beat + unit),
      ArrowLeft: (shift) => this.seek(shift ? piece.bars[beat > piece.bars[bar] + 0.05 ? bar : Math.max(0, bar - 1)] : beat - unit),
      Home: () => this.seek(0),
      End: () => this.seek(piece.bars[piece.bars.length - 2]),
      PageDown: () => roll.look(roll.start + roll.span, roll.span),
      PageUp: () => roll.look(roll.start - roll.span, roll.span),
      "+": () => roll.zoom(1 / 1.5, beat),
      "=": () => roll.zoom(1 / 1.5, beat),
      "-": () => roll.zoom(1.5, beat),
      0: () => roll.look(0, piece.end),
      "[": () => this.select(roll.snapped(beat, Math.max(mark[1], beat + 1e-3))),
      "]": () => this.select(roll.snapped(beat > mark[0] ? mark[0] : 0, beat)),
      Escape: () => this.region && this.select(null),
      ArrowUp: () => volume(0.05),
      ArrowDown: () => volume(-0.05),
      l: () => this.setLoop(!this.looping),
      s: () => this.toggleScore(),
      "?": () => this.hints(),
    };
  }

  // The strip under the roll shows which part of the whole is in view, and moves it.
  drags(part) {
    let from = null;
    const { overview, roll } = part, beats = (event) => {
      const box = overview.getBoundingClientRect();
      return ((event.clientX - box.left) / box.width) * part.piece.end;
    };
    overview.addEventListener("pointerdown", (event) => {
      overview.setPointerCapture(event.pointerId);
      const beat = beats(event);
      if (beat < roll.start || beat > roll.start + roll.span) roll.look(beat - roll.span / 2, roll.span);
      from = beat - roll.start;
    });
    overview.addEventListener("pointermove", (event) => from !== null && roll.look(beats(event) - from, roll.span));
    for (const end of ["pointerup", "pointercancel"]) overview.addEventListener(end, () => { from = null; });
  }

  // How a piece was looked at when another page was opened: the next player of it on that page begins so.
  left(piece) {
    return POST.views?.get(`${this.id} ${piece.of}`);
  }

  keepViews() {
    const views = (POST.views ??= new Map());
    for (const { piece, roll, muted } of this.parts) {
      const name = `${this.id} ${piece.of}`;
      views.delete(name);
      views.set(name, { start: roll.start, span: roll.span, muted: [...muted], region: this.region });
    }
    for (const name of [...views.keys()].slice(0, -VIEWS)) views.delete(name);
  }

  leave() {
    this.keepViews();
    clearTimeout(this.polling);
    cancelAnimationFrame(this.frame);
    this.resizing.disconnect();
    for (const { sound } of this.parts) sound.clear();
    if (POST.players.get(this.id) === this) POST.players.delete(this.id);
  }
}

const VIEWS = 40; // so many pieces are remembered
const HERE = new WeakMap(); // the player of each shell: a rerun finds the one that is there

export default function ({ data, parentElement, setStateValue }) {
  const shell = parentElement.querySelector(".dm");
  let player = HERE.get(shell);
  if (!player || player.id !== data.id) {
    player?.leave();
    HERE.set(shell, (player = new Player(shell, data.id)));
  }
  player.update(data, setStateValue);
  return () => player.leave();
}
