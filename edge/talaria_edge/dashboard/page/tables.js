// Sensors, strides and the kind of movement, in words and numbers.
const PLACES = {
  torso: "Chest", pelvis: "Pelvis", femur_r: "Right thigh", femur_l: "Left thigh", tibia_r: "Right shank",
  tibia_l: "Left shank", calcn_r: "Right foot", calcn_l: "Left foot",
};
const CLASSES = { still: "Standing still", walking: "Walking", stiff_knee: "Stiff-knee walking", running: "Running", unknown: "Unknown movement" };
const SHORT = { still: "still", walking: "walking", stiff_knee: "stiff knee", running: "running" };

export function number(value, digits, factor = 1) {
  return value == null ? "–" : (value * factor).toFixed(digits);
}

// Names of places instead of slots, wherever the session speaks of them.
export function plain(text) {
  return text?.replace(/\b(?:femur|tibia|calcn)_[rl]\b/g, (slot) => PLACES[slot].toLowerCase()) ?? "";
}

export function showClass(place, state) {
  if (!state) return;
  const sure = state.class_confidence == null ? "" : ` ${(state.class_confidence * 100).toFixed(0)} %`;
  setText(place, `${CLASSES[state.gait_class] ?? state.gait_class}${state.gait_class === "unknown" ? "" : sure}`);
}

export function showStrides(body, strides) {
  if (!strides.length) {
    body.innerHTML = '<tr><td colspan="8" class="none">No whole stride yet.</td></tr>';
    return;
  }
  body.replaceChildren(...strides.toReversed().map((stride) => {
    const row = document.createElement("tr");
    const side = row.insertCell();
    side.textContent = stride.side === "r" ? "right" : "left";
    side.className = stride.side;
    for (const text of [
      number(stride.stride_s, 2), number(stride.cadence_spm, 0), number(stride.stance_ratio, 0, 100), number(stride.length_m, 2),
      number(stride.speed_ms, 2), number(stride.rom_deg[`knee_angle_${stride.side}`], 0), SHORT[stride.gait_class] ?? "–",
    ]) row.insertCell().textContent = text;
    return row;
  }));
}

export function showStances(body, stances) {
  if (!stances.length) {
    body.innerHTML = '<tr><td colspan="8" class="none">No whole stance yet.</td></tr>';
    return;
  }
  body.replaceChildren(...stances.toReversed().map((stance) => {
    const row = document.createElement("tr");
    const side = row.insertCell();
    side.textContent = stance.side === "r" ? "right" : "left";
    side.className = stance.side;
    for (const text of [
      number(stance.first_peak_bw, 2), number(stance.second_peak_bw, 2), number(stance.loading_rate_bw_s, 1),
      number(stance.impulse_bw_s, 2), number(stance.braking_bw_s, 3), number(stance.propulsion_bw_s, 3),
      stance.validity === "good" ? "" : stance.validity,
    ]) row.insertCell().textContent = text;
    row.title = plain(stance.reason);
    return row;
  }));
}

export function showSensors(place, words, known) {
  const names = known.slot_names ?? [];
  if (place.children.length !== names.length) {
    place.replaceChildren(...names.map(() => {
      const card = document.createElement("div");
      card.append(document.createElement("b"), document.createElement("span"), document.createElement("span"));
      return card;
    }));
  }
  names.forEach((slot, i) => showSensor(place.children[i], slot, known.state?.slots[i], linkOf(known.links, slot, names)));
  setText(words, (known.links ?? []).map(linkWords).join("  ·  "));
}

function showSensor(card, slot, state, link) {
  const [name, how, charge] = card.children;
  card.className = `slot ${state?.status ?? "held"}`;
  setText(name, PLACES[slot] ?? slot);
  const notes = state ? [state.status, `${number(state.loss, state.loss > 0 && state.loss < 0.1 ? 1 : 0, 100)} % lost`, ...state.flags] : ["waiting"];
  setText(how, notes.join(" · "));
  const more = [];
  if (link?.battery != null) more.push(`battery ${number(link.battery, 0, 100)} %`);
  if (link?.signal_dbm != null) more.push(`${number(link.signal_dbm, 0)} dBm`);
  setText(charge, more.join(" · ") || "battery not told");
}

// One link may carry all sensors, or one each; before any sample it has not said which.
function linkOf(links, slot, names) {
  return links?.find((link) => link.slots.includes(slot)) ?? (links?.length === 1 ? links[0] : links?.[names.indexOf(slot)]);
}

function linkWords(link) {
  const words = [`${link.name || "link"} ${link.connected ? "connected" : "not connected"}`];
  if (link.jitter_ms != null) words.push(`jitter ${link.jitter_ms} ms`);
  if (link.reconnects) words.push(`${link.reconnects} reconnections`);
  if (link.damaged) words.push(`${link.damaged} damaged`);
  return [...words, ...link.refusals].join(", ");
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
