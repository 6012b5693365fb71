// Angles, and forces and moments where there are some, with their intervals, over the gait cycle or over time; angles
// against how people usually walk.
import { echarts } from "/charts/index.js";
import { plain } from "./tables.js";

const SPAN_S = 6;
const KEPT_STRIDES = 3;
const GAP_S = 0.5, GAP_PERCENT = 10; // no area is drawn across a wider hole
// What is drawn: panels [name, title, low, high, step], and where in a state its numbers are.
export const ANGLES = {
  panels: [
    ["hip_flexion", "Hip flexion", -40, 60, 20], ["knee_angle", "Knee flexion", -20, 80, 20], ["ankle_angle", "Ankle dorsiflexion", -40, 40, 20],
  ],
  unit: "°", digits: 1,
  read: (state) => ({ values: state.angles_deg, halves: state.interval_deg, how: state.angle_validity, all: state.validity, reason: state.reason }),
};
export const FORCES = {
  panels: [
    ["grf_vertical", "Upwards", 0, 1.6, 0.4], ["grf_anterior", "Forwards", -0.4, 0.4, 0.2],
    ["grf_lateral", "Outwards", -0.2, 0.2, 0.1],
  ],
  unit: "", digits: 2,
  read: (state) => state.loads && ({
    values: state.loads.force_bw, halves: state.loads.interval_bw, how: state.loads.output_validity, all: state.loads.validity, reason: state.loads.reason,
  }),
};
export const MOMENTS = {
  panels: [
    ["hip_flexion_moment", "Hip flexion", -1.5, 1.5, 0.5], ["knee_angle_moment", "Knee flexion", -1, 1, 0.5],
    ["ankle_angle_moment", "Ankle dorsiflexion", -2, 1, 0.5],
  ],
  unit: "", digits: 2,
  read: (state) => state.loads && ({
    values: state.loads.moment_nm_kg, halves: state.loads.moment_interval_nm_kg, how: state.loads.output_validity, all: state.loads.validity, reason: state.loads.reason,
  }),
};
const SIDES = ["r", "l"];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export class Charts {
  constructor(place, kind) {
    this.axis = "cycle";
    this.band = {};
    this.joints = kind.panels.map((panel) => new Joint(place, panel, kind));
    this.clear();
    new ResizeObserver(() => this.joints.forEach((joint) => joint.chart.resize())).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.restyle());
  }

  about(names, band) {
    this.names = names;
    this.band = band;
    this.restyle();
  }

  clear() {
    this.names ??= [];
    this.rows = [];
    this.strides = { r: [[]], l: [[]] }; // of each side the last few; the newest is still growing
    this.changed = true;
  }

  over(axis) {
    this.axis = axis;
    this.restyle();
  }

  restyle() {
    for (const joint of this.joints) joint.style(this.axis);
    this.changed = true;
  }

  // A row is [t, cycle right, cycle left, angles..., half-widths...].
  take(rows) {
    for (const row of rows) {
      if (this.rows.length && row[0] < this.rows.at(-1)[0]) this.clear();
      this.rows.push(row);
      SIDES.forEach((side, i) => this.grow(this.strides[side], row, row[1 + i], 1 + i));
    }
    while (this.rows.length && this.rows[0][0] < this.rows.at(-1)[0] - SPAN_S) this.rows.shift();
    if (rows.length) this.changed = true;
  }

  grow(strides, row, cycle, column) {
    const current = strides.at(-1);
    const last = current.at(-1);
    if (cycle == null || cycle > 1.1) {
      if (current.length) strides.push([]);
    } else {
      if (last && cycle < last[column] - 0.2) strides.push([]);
      strides.at(-1).push(row);
    }
    while (strides.length > KEPT_STRIDES + 1) strides.shift();
  }

  draw(state, fresh) {
    for (const joint of this.joints) joint.showNow(state, fresh);
    if (!this.changed || !this.names.length) return;
    this.changed = false;
    for (const joint of this.joints) joint.draw(this, this.axis === "cycle" ? this.overCycle(joint) : this.overTime(joint));
  }

  overCycle(joint) {
    const lines = [], areas = [];
    const band = this.bandOf(joint);
    if (band) areas.push([band.mean_deg.map((mean, i) => [i, mean - 2 * band.sd_deg[i], mean + 2 * band.sd_deg[i]]), "band", 0.28]);
    SIDES.forEach((side, s) => {
      const [angle, half] = this.columns(`${joint.name}_${side}`);
      const point = (row) => [Math.min(100, row[1 + s] * 100), row[angle]];
      const strides = this.strides[side];
      strides.slice(0, -1).forEach((rows) => lines.push([rows.map(point), side, 0.28, 1]));
      const now = strides.at(-1);
      lines.push([now.map(point), side, 1, 2.4]);
      areas.push(...stretches(now, angle, half, (row) => Math.min(100, row[1 + s] * 100), GAP_PERCENT).map((area) => [area, side, 0.2]));
      if (now.length && now.at(-1)[angle] != null) joint.tips[side] = point(now.at(-1));
      else joint.tips[side] = null;
    });
    return { lines, areas, from: 0, to: 100 };
  }

  overTime(joint) {
    const lines = [], areas = [];
    const end = this.rows.at(-1)?.[0] ?? 0;
    const ago = (row) => row[0] - end;
    const band = this.bandOf(joint);
    if (band) {
      // Where in the usual band the right leg is at each instant; its own cycle leads through it.
      const known = this.rows.filter((row) => row[1] != null && row[1] <= 1.1);
      const area = known.map((row) => {
        const i = Math.min(100, Math.round(row[1] * 100));
        return [ago(row), band.mean_deg[i] - 2 * band.sd_deg[i], band.mean_deg[i] + 2 * band.sd_deg[i]];
      });
      areas.push(...split(area, GAP_S).map((part) => [part, "band", 0.28]));
    }
    SIDES.forEach((side) => {
      const [angle, half] = this.columns(`${joint.name}_${side}`);
      lines.push([this.rows.map((row) => [ago(row), row[angle]]), side, 1, 2]);
      areas.push(...stretches(this.rows, angle, half, ago, GAP_S).map((area) => [area, side, 0.2]));
      joint.tips[side] = null;
    });
    return { lines, areas, from: -SPAN_S, to: 0 };
  }

  bandOf(joint) {
    return this.band[`${joint.name}_r`] ?? this.band[`${joint.name}_l`] ?? this.band[joint.name];
  }

  columns(name) {
    const i = this.names.indexOf(name);
    return i < 0 ? [-1, -1] : [3 + i, 3 + this.names.length + i];
  }
}

class Joint {
  constructor(place, [name, title, low, high, step], kind) {
    Object.assign(this, { name, low, high, step, kind, tips: {}, values: {} });
    const box = document.createElement("div");
    box.className = "joint";
    box.innerHTML = '<header><h3></h3><span class="value r"></span><span class="value l"></span></header><div class="plot"></div>';
    box.querySelector("h3").textContent = title;
    place.append(box);
    for (const side of SIDES) {
      this.values[side] = box.querySelector(`.value.${side}`);
      this.values[side].dataset.angle = `${name}_${side}`;
    }
    this.chart = echarts.init(box.querySelector(".plot"));
    this.style("cycle");
  }

  style(axis) {
    const soft = colour("soft"), line = colour("line");
    this.chart.setOption({
      animation: false,
      grid: { left: 38, right: 14, top: 8, bottom: 22 },
      xAxis: {
        type: "value", axisLabel: { color: soft, formatter: axis === "cycle" ? "{value} %" : "{value} s" },
        splitLine: { lineStyle: { color: line } }, axisLine: { show: false }, axisTick: { show: false },
      },
      yAxis: {
        type: "value", min: this.low, max: this.high, interval: this.step, axisLabel: { color: soft, formatter: `{value}${this.kind.unit}` },
        axisLine: { show: false }, axisTick: { show: false },
        splitLine: { lineStyle: { color: line } },
      },
      series: [],
    }, true);
  }

  draw(charts, { lines, areas, from, to }) {
    const series = [
      ...areas.map(([points, shade, opacity]) => areaSeries(points, colour(shade === "r" ? "right" : shade === "l" ? "left" : shade), opacity)),
      ...lines.map(([data, side, opacity, width]) => ({
        type: "line", data, showSymbol: false, silent: true, clip: true, z: 3, connectNulls: false,
        lineStyle: { color: colour(side === "r" ? "right" : "left"), width, opacity },
      })),
      ...SIDES.filter((side) => this.tips[side]).map((side) => ({
        type: "scatter", data: [this.tips[side]], symbolSize: 9, silent: true, z: 4,
        itemStyle: { color: colour(side === "r" ? "right" : "left") },
      })),
    ];
    this.chart.setOption({ xAxis: { min: from, max: to }, series }, { replaceMerge: ["series"] });
  }

  showNow(state, fresh) {
    for (const side of SIDES) {
      const name = `${this.name}_${side}`, place = this.values[side];
      const told = state && this.kind.read(state);
      const value = told?.values[name], half = told?.halves[name], digits = this.kind.digits;
      const how = !told || !fresh || value == null ? "invalid" : told.how[name] ?? told.all;
      place.className = `value ${side} ${how}`;
      place.title = how === "good" ? "" : plain(told?.reason);
      const text = how === "invalid" ? "no value" : `${signed(value, digits)}${this.kind.unit}`;
      const more = how !== "invalid" && half != null ? ` ± ${half.toFixed(digits)}` : "";
      if (place.dataset.text === text + more) continue;
      place.dataset.text = text + more;
      place.textContent = text;
      if (more) place.append(Object.assign(document.createElement("small"), { textContent: more }));
    }
  }
}

// Never "-0.00".
function signed(value, digits) {
  return (Math.round(value * 10 ** digits) / 10 ** digits + 0).toFixed(digits);
}

// A band between two curves as one polygon; points are [x, low, high].
function areaSeries(points, fill, opacity) {
  return {
    type: "custom", silent: true, clip: true, z: 1, data: points.length > 1 ? [[points[0][0], points[0][1]]] : [],
    renderItem: (_, api) => ({
      type: "polygon", style: { fill, opacity },
      shape: { points: [...points.map(([x, low]) => api.coord([x, low])), ...points.toReversed().map(([x, , high]) => api.coord([x, high]))] },
    }),
  };
}

// Where both the angle and its half-width are known, in stretches without a hole.
function stretches(rows, angle, half, x, gap) {
  if (angle < 0) return [];
  const area = rows.map((row) => row[angle] == null || row[half] == null ? null : [x(row), row[angle] - row[half], row[angle] + row[half]]);
  return split(area, gap);
}

function split(points, gap) {
  const parts = [[]];
  for (const point of points) {
    if (point === null || (parts.at(-1).length && point[0] - parts.at(-1).at(-1)[0] > gap)) parts.push([]);
    if (point !== null) parts.at(-1).push(point);
  }
  return parts.filter((part) => part.length > 1);
}
