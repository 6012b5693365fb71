// Both legs from the side: hips flex forward, knees bend back, toes rise. The wearer faces right.
const SVG = "http://www.w3.org/2000/svg";
const THIGH = 25, SHANK = 24, HEEL = 5, TOE = 11, SOLE = 4; // of a height of 100
const GROUND = 104, HIP = GROUND - THIGH - SHANK - SOLE;
const rad = (degrees) => (degrees ?? 0) * Math.PI / 180;

export class Skeleton {
  constructor(svg) {
    const make = (name, attributes, parent = svg) => {
      const element = document.createElementNS(SVG, name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      return parent.appendChild(element);
    };
    make("line", { class: "ground", x1: -44, x2: 44, y1: GROUND + 2.6, y2: GROUND + 2.6 });
    this.legs = {};
    const leg = (side) => {
      const group = make("g", { class: side });
      const bone = () => make("polyline", { class: "bone" }, group);
      this.legs[side] = {
        group, thigh: bone(), shank: bone(), foot: bone(),
        knee: make("circle", { r: 2.6 }, group), ankle: make("circle", { r: 2 }, group),
      };
    };
    leg("l");
    this.trunk = make("g", {});
    make("line", { class: "bone trunk", x1: 0, x2: 0, y1: 0, y2: -34 }, this.trunk);
    make("circle", { class: "head", r: 6.5, cx: 1, cy: -44.5 }, this.trunk);
    leg("r");
    this.hip = make("circle", { class: "trunk", r: 3.2 });
    this.draw({ angles_deg: {}, angle_validity: {} }, false); // a person of whom nothing is known yet
  }

  draw(state, fresh) {
    const poses = { r: pose(state.angles_deg, "r"), l: pose(state.angles_deg, "l") };
    // The lower foot stands on the ground; the hip goes up and down with it.
    const lowest = Math.max(...Object.values(poses).flatMap((p) => p.foot.map((point) => point[1])));
    const y = GROUND - lowest;
    for (const side of ["l", "r"]) this.drawLeg(side, poses[side], y, state, fresh);
    this.trunk.setAttribute("transform", `translate(0 ${y.toFixed(2)})`);
    this.hip.setAttribute("cy", y.toFixed(2));
  }

  drawLeg(side, p, y, state, fresh) {
    const leg = this.legs[side];
    const put = (line, points, joints, end) => {
      line.setAttribute("points", points.map(([px, py]) => `${px.toFixed(2)},${(py + y).toFixed(2)}`).join(" "));
      const how = fresh ? worst(state, joints, side) : "invalid";
      for (const element of [line, end]) element?.classList.toggle("unsure", how === "invalid");
      line.classList.toggle("doubtful", how === "degraded");
    };
    put(leg.thigh, [[0, 0], p.knee], ["hip_flexion"], leg.knee);
    put(leg.shank, [p.knee, p.ankle], ["hip_flexion", "knee_angle"], leg.ankle);
    put(leg.foot, p.foot, ["hip_flexion", "knee_angle", "ankle_angle"]);
    for (const joint of ["knee", "ankle"]) {
      leg[joint].setAttribute("cx", p[joint][0].toFixed(2));
      leg[joint].setAttribute("cy", (p[joint][1] + y).toFixed(2));
    }
  }
}

function worst(state, joints, side) {
  const all = joints.map((joint) => {
    const name = `${joint}_${side}`;
    return state.angles_deg[name] == null ? "invalid" : state.angle_validity[name] ?? state.validity;
  });
  return all.includes("invalid") ? "invalid" : all.includes("degraded") ? "degraded" : "good";
}

// Angles to points, hip at the origin, y downwards as on a screen.
function pose(angles, side) {
  const thigh = rad(angles[`hip_flexion_${side}`]);
  const shank = thigh - rad(angles[`knee_angle_${side}`]);
  const foot = shank + rad(angles[`ankle_angle_${side}`]);
  const knee = [THIGH * Math.sin(thigh), THIGH * Math.cos(thigh)];
  const ankle = [knee[0] + SHANK * Math.sin(shank), knee[1] + SHANK * Math.cos(shank)];
  const at = (forward, down) => [
    ankle[0] + forward * Math.cos(foot) + down * Math.sin(foot),
    ankle[1] - forward * Math.sin(foot) + down * Math.cos(foot),
  ];
  return { knee, ankle, foot: [ankle, at(-HEEL, SOLE), at(TOE, SOLE), ankle] };
}
