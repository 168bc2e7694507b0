// The piano roll on two canvases: one with keys, grid and notes, drawn when the view changes, and over it one with
// playhead, region and what sounds now, drawn at every frame. Letters from files meet a canvas only, never HTML.

const KEYS = 38, AXIS = 24; // pixels for the keyboard at the left and for the bars along the bottom
const LEAST_SPAN = 1; // beats

class Roll {
  constructor(box, canvases, piece, on) {
    this.box = box;
    this.still = canvases[0];
    this.moving = canvases[1];
    this.on = on; // seek(beat), select(start, end), scroll(), hover(note, x, y)
    this.muted = new Set();
    this.hovered = -1;
    this.region = null;
    this.beat = 0;
    this.show(piece);
    this.listen();
  }

  show(piece) {
    this.piece = piece;
    this.start = 0;
    this.span = Math.min(piece.end, Math.max(16, piece.bars[Math.min(16, piece.bars.length - 1)]));
    this.hovered = -1;
    this.region = null;
  }

  // ---- geometry
  fit(width, height) {
    const ratio = window.devicePixelRatio || 1;
    this.width = width;
    this.height = height;
    for (const canvas of [this.still, this.moving]) {
      const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
      if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
  }

  get row() {
    return (this.height - AXIS) / (this.piece.highest - this.piece.lowest + 1);
  }

  x(beat) {
    return KEYS + ((beat - this.start) / this.span) * (this.width - KEYS);
  }

  y(pitch) {
    return (this.piece.highest - pitch) * this.row;
  }

  beatAt(x) {
    return this.start + ((x - KEYS) / (this.width - KEYS)) * this.span;
  }

  noteAt(x, y) {
    const { notes } = this.piece, pitch = this.piece.highest - Math.floor(y / this.row);
    if (x < KEYS || y > this.height - AXIS) return -1;
    const beat = this.beatAt(x), reach = (2 / (this.width - KEYS)) * this.span; // two pixels of grace
    const [first, last] = notes.between(beat - reach, beat + reach);
    for (let i = last - 1; i >= first; i--) {
      if (notes.pitch[i] === pitch && notes.end[i] > beat - reach && !this.muted.has(notes.track[i])) return i;
    }
    return -1;
  }

  // ---- the view
  look(start, span) {
    this.span = Math.min(this.piece.end, Math.max(LEAST_SPAN, span));
    this.start = Math.min(Math.max(0, start), this.piece.end - this.span);
    this.on.scroll();
  }

  zoom(factor, around = this.start + this.span / 2) {
    const span = Math.min(this.piece.end, Math.max(LEAST_SPAN, this.span * factor));
    this.look(around - ((around - this.start) * span) / this.span, span);
  }

  follow(beat) {
    if (beat < this.start || beat > this.start + 0.92 * this.span) {
      if (this.span < this.piece.end) this.look(beat - 0.08 * this.span, this.span);
    }
  }

  // ---- what stands still
  draw(colours) {
    const c = this.still.getContext("2d");
    this.colours = colours;
    c.clearRect(0, 0, this.width, this.height);
    c.save();
    c.beginPath();
    c.rect(KEYS, 0, this.width - KEYS, this.height - AXIS);
    c.clip();
    this.drawRows(c);
    this.drawBarShade(c);
    this.drawLines(c);
    if (this.piece.ghost) this.drawGhost(c);
    this.drawNotes(c);
    c.restore();
    this.drawKeys(c, new Set());
    this.drawAxis(c);
  }

  drawRows(c) {
    const { lowest, highest } = this.piece;
    c.fillStyle = this.colours.line(0.045);
    for (let pitch = lowest; pitch <= highest; pitch++) {
      if (isBlack(pitch)) c.fillRect(KEYS, this.y(pitch), this.width - KEYS, this.row);
    }
    c.fillStyle = this.colours.line(0.16);
    for (let pitch = lowest; pitch <= highest; pitch++) {
      if (pitch % 12 === 0) c.fillRect(KEYS, Math.round(this.y(pitch) + this.row) - 0.5, this.width - KEYS, 1);
    }
  }

  drawBarShade(c) {
    const { bars, barShade } = this.piece;
    if (!barShade) return;
    for (const bar of this.barsShown()) {
      const value = barShade[bar];
      if (value === null || value === undefined) continue;
      c.fillStyle = this.colours.veil(value);
      c.fillRect(this.x(bars[bar]), 0, this.x(bars[bar + 1]) - this.x(bars[bar]), this.height);
    }
  }

  *barsShown() {
    const { bars } = this.piece;
    for (let bar = this.piece.barAt(this.start); bar < bars.length - 1 && bars[bar] <= this.start + this.span; bar++) {
      yield bar;
    }
  }

  // Every how many bars there is room for a line and for a number.
  get stride() {
    const { bars, end } = this.piece, pixels = ((this.width - KEYS) * end) / this.span / (bars.length - 1);
    return [1, 2, 4, 8, 16, 32, 64, 128].find((n) => n * pixels >= 26) ?? 256;
  }

  drawLines(c) {
    const { bars, units } = this.piece, perBeat = (this.width - KEYS) / this.span, { stride } = this;
    for (const bar of this.barsShown()) {
      c.fillStyle = this.colours.line(0.11);
      if (units[bar] * perBeat > 9) {
        for (let beat = bars[bar] + units[bar]; beat < bars[bar + 1] - 1e-6; beat += units[bar]) {
          c.fillRect(Math.round(this.x(beat)) - 0.5, 0, 1, this.height);
        }
      }
      c.fillStyle = this.colours.line(0.3);
      if (bar % stride === 0) c.fillRect(Math.round(this.x(bars[bar])) - 0.5, 0, 1, this.height);
    }
  }

  drawGhost(c) {
    const { ghost } = this.piece, [first, last] = ghost.between(this.start, this.start + this.span);
    c.fillStyle = this.colours.line(0.14);
    c.strokeStyle = this.colours.line(0.4);
    c.lineWidth = 1;
    for (let i = first; i < last; i++) {
      const x = this.x(ghost.onset[i]), w = Math.max(2, this.x(ghost.end[i]) - x), y = this.y(ghost.pitch[i]);
      c.fillRect(x, y, w, this.row);
      if (this.row > 4) c.strokeRect(x + 0.5, y + 0.5, w - 1, this.row - 1);
    }
  }

  drawNotes(c) {
    const { notes, noteShade } = this.piece, [first, last] = notes.between(this.start, this.start + this.span);
    const { start, row, colours } = this, scale = (this.width - KEYS) / this.span, gap = row > 5 ? 1 : 0;
    let style = "";
    for (let i = first; i < last; i++) {
      if (notes.end[i] < start) continue;
      const muted = this.muted.has(notes.track[i]);
      const wanted = muted ? colours.line(0.13)
        : noteShade ? colours.shade(noteShade[i]) : colours.note(notes.track[i], notes.velocity[i]);
      if (wanted !== style) c.fillStyle = style = wanted;
      const x = KEYS + (notes.onset[i] - start) * scale, w = (notes.end[i] - notes.onset[i]) * scale;
      c.fillRect(x, this.y(notes.pitch[i]), Math.max(1.5, w > 4 ? w - 1 : w), row - gap);
    }
  }

  drawKeys(c, pressed) {
    const { lowest, highest } = this.piece, { colours, row } = this, bottom = this.height - AXIS;
    c.fillStyle = colours.dark ? "#d9d6cf" : "#ffffff";
    c.fillRect(0, 0, KEYS, bottom);
    for (let pitch = lowest; pitch <= highest; pitch++) {
      const y = this.y(pitch);
      if (isBlack(pitch)) {
        c.fillStyle = pressed.get?.(pitch) ?? "#3a3f48";
        c.fillRect(0, y, KEYS * 0.6, row);
      } else if (pressed.has(pitch)) {
        c.fillStyle = pressed.get(pitch);
        c.fillRect(0, y, KEYS, row);
      }
      if (pitch % 12 === 0 || pitch % 12 === 5) {
        c.fillStyle = "#9a968c";
        c.fillRect(0, Math.round(y + row) - 0.5, KEYS, 1);
      }
    }
    c.fillStyle = "#3a3f48";
    c.font = `10px ${colours.font}`;
    c.textAlign = "right";
    c.textBaseline = "alphabetic";
    for (let pitch = lowest; pitch <= highest; pitch++) {
      if (pitch % 12 === 0) c.fillText(noteName(pitch), KEYS - 3, Math.min(bottom - 2, this.y(pitch) + row - 1));
    }
    c.fillStyle = colours.line(0.35);
    c.fillRect(KEYS - 0.5, 0, 1, bottom);
  }

  drawAxis(c) {
    const { bars, units } = this.piece, { colours, stride } = this, y = this.height - AXIS;
    c.fillStyle = colours.line(0.06);
    c.fillRect(0, y, this.width, AXIS);
    c.fillStyle = colours.line(0.35);
    c.fillRect(0, y - 0.5, this.width, 1);
    c.font = `11px ${colours.font}`;
    c.textBaseline = "middle";
    c.textAlign = "left";
    c.fillStyle = colours.line(0.75);
    c.fillText("bar", 6, y + AXIS / 2);
    const perBeat = (this.width - KEYS) / this.span;
    for (const bar of this.barsShown()) {
      const x = this.x(bars[bar]);
      if (bar % stride === 0 && x >= KEYS - 1) {
        c.fillStyle = colours.line(0.85);
        c.fillText(String(bar + 1), x + 3, y + AXIS / 2);
        c.fillStyle = colours.line(0.35);
        c.fillRect(Math.round(x) - 0.5, y, 1, AXIS);
      }
      if (units[bar] * perBeat <= 26) continue;
      c.fillStyle = colours.line(0.55);
      let number = 2;
      for (let beat = bars[bar] + units[bar]; beat < bars[bar + 1] - 1e-6; beat += units[bar], number++) {
        if (this.x(beat) < KEYS) continue;
        c.fillRect(Math.round(this.x(beat)) - 0.5, y, 1, 5);
        if (units[bar] * perBeat > 44) c.fillText(`·${number}`, this.x(beat) + 3, y + AXIS / 2);
      }
    }
  }

  // ---- what moves
  drawMoving(beat, active) {
    const c = this.moving.getContext("2d"), { colours } = this, bottom = this.height - AXIS;
    this.beat = beat;
    c.clearRect(0, 0, this.width, this.height);
    c.save();
    c.beginPath();
    c.rect(KEYS, 0, this.width - KEYS, this.height);
    c.clip();
    if (this.region) this.drawRegion(c);
    const pressed = new Map();
    if (active) this.drawSounding(c, beat, pressed);
    if (this.hovered >= 0) this.outline(c, this.hovered, colours.line(1), 1.5);
    const x = this.x(beat);
    c.fillStyle = colours.primary;
    c.fillRect(x - 1, 0, 2, bottom);
    c.beginPath();
    c.moveTo(x - 6, this.height);
    c.lineTo(x + 6, this.height);
    c.lineTo(x, bottom + AXIS / 2);
    c.fill();
    c.restore();
    if (pressed.size) this.drawKeys(c, pressed);
  }

  drawRegion(c) {
    const [from, to] = this.region, x = this.x(from), w = this.x(to) - x, { colours } = this;
    c.fillStyle = `rgba(${colours.primaryRgb.join(",")},0.14)`;
    c.fillRect(x, 0, w, this.height);
    c.fillStyle = colours.primary;
    c.fillRect(x - 1, 0, 2, this.height);
    c.fillRect(x + w - 1, 0, 2, this.height);
    c.fillRect(x, this.height - 4, w, 4);
  }

  drawSounding(c, beat, pressed) {
    const { notes } = this.piece;
    for (const i of notes.sounding(beat)) {
      if (this.muted.has(notes.track[i])) continue;
      pressed.set(notes.pitch[i], this.colours.track(notes.track[i]));
      this.outline(c, i, this.colours.line(0.9), 1.5);
    }
  }

  outline(c, i, style, width) {
    const { notes } = this.piece, x = this.x(notes.onset[i]), y = this.y(notes.pitch[i]);
    c.strokeStyle = style;
    c.lineWidth = width;
    c.strokeRect(x, y, Math.max(2, this.x(notes.end[i]) - x - 1), Math.max(2, this.row - 1));
  }

  // ---- the hand: a drag along the bars selects, a drag over the notes moves the view, a click seeks
  listen() {
    const pointers = new Map();
    let drag = null;
    const at = (event) => {
      const box = this.moving.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    this.box.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      const [x, y] = at(event);
      pointers.set(event.pointerId, x);
      this.box.setPointerCapture(event.pointerId);
      if (pointers.size === 2) {
        const [a, b] = [...pointers.values()];
        drag = { kind: "pinch", apart: Math.max(10, Math.abs(a - b)), span: this.span, around: this.beatAt((a + b) / 2) };
      } else {
        const selects = y > this.height - AXIS || event.shiftKey;
        drag = { kind: selects ? "select" : "pan", x, start: this.start, beat: this.beatAt(x), moved: false };
      }
    });
    this.box.addEventListener("pointermove", (event) => {
      const [x, y] = at(event);
      if (!drag) return this.hover(x, y);
      if (pointers.has(event.pointerId)) pointers.set(event.pointerId, x);
      if (drag.kind === "pinch") {
        const [a, b] = [...pointers.values()], span = (drag.span * drag.apart) / Math.max(10, Math.abs(a - b));
        this.look(drag.around - ((x - KEYS) / (this.width - KEYS)) * span, span);
        return;
      }
      drag.moved ||= Math.abs(x - drag.x) > 4;
      if (!drag.moved) return;
      if (drag.kind === "pan") {
        this.look(drag.start - ((x - drag.x) / (this.width - KEYS)) * this.span, this.span);
      } else {
        this.region = this.snapped(drag.beat, this.beatAt(x));
        this.on.scroll();
      }
    });
    const finish = (event) => {
      pointers.delete(event.pointerId);
      if (!drag || event.type === "pointercancel") return void (drag = null);
      if (drag.kind === "select" && drag.moved) this.on.select(...(this.region ?? [0, 0]));
      else if (!drag.moved && drag.kind !== "pinch") this.on.seek(Math.max(0, this.beatAt(Math.max(KEYS, drag.x))));
      if (!pointers.size) drag = null;
    };
    this.box.addEventListener("pointerup", finish);
    this.box.addEventListener("pointercancel", finish);
    this.box.addEventListener("pointerleave", () => this.hover(-1, -1));
    this.box.addEventListener("wheel", (event) => this.wheel(event, at(event)[0]), { passive: false });
  }

  // The wheel alone scrolls the page, unless the roll has the focus: then the roll.
  wheel(event, x) {
    const sideways = event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX;
    const focused = this.box.getRootNode().activeElement === this.box;
    if (event.ctrlKey || event.metaKey || event.altKey) {
      this.zoom(Math.exp(event.deltaY * 0.003), this.beatAt(Math.max(KEYS, x)));
    } else if (sideways || focused) {
      this.look(this.start + ((sideways || event.deltaY) / (this.width - KEYS)) * this.span, this.span);
    } else return;
    event.preventDefault();
  }

  // A region begins and ends on beats, or on quarters of a beat where the view is close.
  snapped(a, b) {
    const stop = (beat, round) => {
      const bar = this.piece.barAt(beat), unit = this.piece.units[bar] * (this.span <= 8 ? 0.25 : 1);
      return this.piece.bars[bar] + round((beat - this.piece.bars[bar]) / unit) * unit;
    };
    const from = Math.max(0, stop(Math.min(a, b), (x) => Math.floor(x + 1e-6)));
    const to = Math.min(this.piece.end, stop(Math.max(a, b), (x) => Math.ceil(x - 1e-6)));
    return to > from ? [from, to] : null;
  }

  hover(x, y) {
    const found = x < 0 ? -1 : this.noteAt(x, y);
    if (found === this.hovered && found < 0) return;
    this.hovered = found;
    this.on.hover(found, x, y);
  }
}
