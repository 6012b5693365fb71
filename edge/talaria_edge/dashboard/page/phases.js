// What each leg has been doing for the last seconds, as a running bar, and what it does now, in words.
const SPAN_S = 6;
const SIDES = { r: "right", l: "left" };
const PARTS = {
  loading_response: ["loading", "#2f6fb0"], mid_stance: ["mid-stance", "#3f93d1"], terminal_stance: ["terminal", "#6db8e6"],
  pre_swing: ["pre-swing", "#a9d8ef"], swing: ["swing", "#e08a3c"], stance: ["stance", "#3f93d1"],
};

export class PhaseBars {
  constructor(place, key) {
    this.rows = {};
    for (const [side, name] of Object.entries(SIDES)) {
      const row = document.createElement("div");
      row.className = "phase";
      row.innerHTML = `<b class="${side}">${name}</b><canvas></canvas><div class="words"><span></span><span></span></div>`;
      place.append(row);
      const [now, share] = row.querySelectorAll(".words span");
      this.rows[side] = { canvas: row.querySelector("canvas"), now, share };
    }
    for (const [name, colour] of Object.values(PARTS).slice(0, 5)) {
      const item = document.createElement("span");
      const dot = document.createElement("i");
      dot.style.background = colour;
      item.append(dot, name);
      key.append(item);
    }
    this.clear();
  }

  clear() {
    this.history = { r: [], l: [] }; // [start, end, part], newest last
    this.contacts = { r: [], l: [] };
    this.state = null;
  }

  take(state, events) {
    for (const event of events) this.contacts[event.side]?.push(event);
    if (!state || state === this.state) return;
    if (this.state && state.t_s < this.state.t_s) this.clear();
    this.state = state;
    for (const side of Object.keys(SIDES)) {
      const part = partOf(state.legs[side]);
      const list = this.history[side];
      const last = list.at(-1);
      if (last && last[2] === part && state.t_s - last[1] < 0.5) last[1] = state.t_s;
      else list.push([last && state.t_s - last[1] < 0.5 ? last[1] : state.t_s, state.t_s, part]);
      while (list.length && list[0][1] < state.t_s - SPAN_S) list.shift();
      this.contacts[side] = this.contacts[side].filter((event) => event.t_s > state.t_s - SPAN_S);
    }
  }

  draw() {
    if (!this.state) return;
    for (const [side, row] of Object.entries(this.rows)) {
      const leg = this.state.legs[side];
      const part = partOf(leg);
      row.now.textContent = PARTS[part]?.[0] ?? "unknown";
      row.now.style.opacity = 0.4 + 0.6 * (leg.confidence ?? 0);
      row.share.textContent = leg.cycle == null ? "" :
        `${Math.min(100, leg.cycle * 100).toFixed(0)} % of the cycle · ${((leg.confidence ?? 0) * 100).toFixed(0)} % sure`;
      this.drawBar(row.canvas, side);
    }
  }

  drawBar(canvas, side) {
    const scale = devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const x = (t) => (t - this.state.t_s + SPAN_S) / SPAN_S * width;
    for (const [start, end, part] of this.history[side]) {
      if (!PARTS[part]) continue;
      pen.fillStyle = PARTS[part][1];
      pen.fillRect(x(start), 0, x(end) - x(start) + 0.6, height);
    }
    pen.fillStyle = "#fff";
    for (const event of this.contacts[side]) {
      if (event.kind === "initial") pen.fillRect(x(event.t_s) - 1, 0, 2, height);
    }
  }
}

function partOf(leg) {
  if (!leg) return "unknown";
  return leg.sub_phase !== "unknown" ? leg.sub_phase : leg.phase;
}
