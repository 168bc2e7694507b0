// The engraved score of one piece: pages of SVG and the times at which each note sounds. The SVG is parsed as XML and
// cleaned before it meets the page, for it carries titles and names out of files.

const ALLOWED = new Set(["svg", "g", "path", "rect", "ellipse", "circle", "polygon", "polyline", "line", "use", "symbol",
  "defs", "text", "tspan", "title", "desc", "style"]);

function cleanSvg(text) {
  const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
  if (parsed.querySelector("parsererror")) throw new Error("the score is not well-formed SVG");
  for (const element of [...parsed.querySelectorAll("*")]) {
    if (!ALLOWED.has(element.localName)) { element.remove(); continue; }
    for (const attribute of [...element.attributes]) {
      const name = attribute.localName.toLowerCase(), outside = name === "href" && !attribute.value.startsWith("#");
      if (name.startsWith("on") || outside) element.removeAttributeNode(attribute);
    }
  }
  return document.importNode(parsed.documentElement, true);
}

class Score {
  constructor(box) {
    this.box = box;
    this.lit = [];
    this.hash = null;
  }

  // {pages: [svg], times: [[beat, [ids that sound from then on]]], remarks: [sentence]} behind an address.
  async take(score) {
    if (score.hash === this.hash) return;
    this.hash = score.hash;
    const answer = await (await fetch(score.url)).json();
    if (score.hash !== this.hash) return;
    this.beats = answer.times.map(([beat]) => beat);
    this.ids = answer.times.map(([, ids]) => ids);
    this.remarks = (answer.remarks ?? []).join(" ");
    this.box.replaceChildren(...answer.pages.map(cleanSvg));
    this.elements = new Map();
    for (const ids of this.ids) for (const id of ids) this.elements.set(id, this.box.querySelector(`#${CSS.escape(id)}`));
    this.at = -2;
    this.lit = [];
  }

  follow(beat, playing) {
    if (!this.beats) return;
    const at = lastAtMost(this.beats, beat + 1e-6);
    if (at === this.at) return;
    this.at = at;
    for (const element of this.lit) element.classList.remove("sounding");
    this.lit = (this.ids[at] ?? []).map((id) => this.elements.get(id)).filter(Boolean);
    for (const element of this.lit) element.classList.add("sounding");
    if (playing && this.lit.length) this.bring(this.lit[0]);
  }

  // Scroll within the box, never the page.
  bring(element) {
    const inner = element.getBoundingClientRect(), outer = this.box.getBoundingClientRect();
    if (inner.top < outer.top + 20 || inner.bottom > outer.bottom - 20) {
      this.box.scrollTop += inner.top - outer.top - outer.height / 3;
    }
  }

  clear() {
    this.hash = this.beats = null;
    this.lit = [];
    this.box.replaceChildren();
  }
}
