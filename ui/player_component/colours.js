// The colours of a roll, out of the theme of the page: tracks, shades, lines.

const TRACKS = {
  light: ["#0e7c74", "#c8571b", "#6a51b5", "#2f6fb3", "#b03a78", "#76720f", "#8a5a3b", "#556070"],
  dark: ["#45bfb3", "#f0905a", "#a894f0", "#6fb1f0", "#ee7fb5", "#c9c750", "#cfa27f", "#9fb0c4"],
};
const SCALE = { light: ["#b9c6cc", "#e9a23b", "#b3261e"], dark: ["#4a5763", "#d99a35", "#ff6f57"] };
const LEVELS = 16; // shades of velocity

function parseColour(text) {
  const context = (parseColour.context ??= document.createElement("canvas").getContext("2d"));
  context.fillStyle = "#000";
  context.fillStyle = text.trim() || "#000";
  const value = context.fillStyle;
  if (value.startsWith("#")) return [1, 3, 5].map((i) => parseInt(value.slice(i, i + 2), 16));
  return value.match(/[\d.]+/g).slice(0, 3).map(Number);
}

function mix(from, to, share) {
  return `rgb(${from.map((value, i) => Math.round(value + (to[i] - value) * share)).join(",")})`;
}

class Colours {
  constructor(element) {
    const style = getComputedStyle(element), read = (name) => parseColour(style.getPropertyValue(name));
    this.ground = read("--st-background-color");
    this.ink = read("--st-text-color");
    this.primary = mix(read("--st-primary-color"), this.ink, 0);
    this.primaryRgb = read("--st-primary-color");
    this.font = style.getPropertyValue("--st-font") || "sans-serif";
    this.dark = this.ground[0] + this.ground[1] + this.ground[2] < 384;
    this.palette = TRACKS[this.dark ? "dark" : "light"].map(parseColour);
    this.stops = SCALE[this.dark ? "dark" : "light"].map(parseColour);
    this.table = this.palette.map((colour) => {
      return Array.from({ length: LEVELS }, (_, i) => mix(this.ground, colour, 0.35 + (0.65 * i) / (LEVELS - 1)));
    });
    this.scaleTable = Array.from({ length: 33 }, (_, i) => this.between(i / 32));
  }

  // What stands out by `share` from the ground: lines, letters, black keys.
  line(share) {
    return mix(this.ground, this.ink, share);
  }

  track(track) {
    return this.table[track % this.table.length][LEVELS - 1];
  }

  note(track, velocity) {
    return this.table[track % this.table.length][Math.min(LEVELS - 1, (velocity * LEVELS) >> 7)];
  }

  // A value of 0 to 1 on the scale; the ink's grey where it is unknown.
  shade(value) {
    if (value === null || value === undefined) return this.line(0.28);
    return this.scaleTable[Math.round(32 * Math.min(1, Math.max(0, value)))];
  }

  between(value) {
    const [low, middle, high] = this.stops;
    return value < 0.5 ? mix(low, middle, 2 * value) : mix(middle, high, 2 * value - 1);
  }

  veil(value) {
    const rgb = this.between(value).slice(4, -1);
    return `rgba(${rgb},${0.06 + 0.2 * value})`;
  }

  gradient() {
    return `linear-gradient(90deg, ${this.scaleTable[0]}, ${this.scaleTable[16]}, ${this.scaleTable[32]})`;
  }
}
