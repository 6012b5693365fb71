// The page: listens to the session, remembers the last seconds, and draws what it is told.
import { ANGLES, Charts, FORCES, MOMENTS } from "./charts.js";
import { Skeleton } from "./skeleton.js";
import { PhaseBars } from "./phases.js";
import { plain, showSensors, showStances, showStrides, showClass } from "./tables.js";

const $ = (id) => document.getElementById(id);
const SILENT_MS = 2000; // a session that runs says something at least once a second
const REDRAW_MS = 100;

const known = {};
const strides = [], stances = [];
let socket = null;
let heardMs = 0;
let drawnMs = 0;
let noted = null;

const skeleton = new Skeleton($("skeleton"));
const phases = new PhaseBars($("phases"), $("key"));
const charts = new Charts($("charts"), ANGLES);
let loads = []; // charts of forces, and of moments; made when a session turns out to have a model of them

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  socket.onmessage = (event) => take(JSON.parse(event.data));
  socket.onclose = () => setTimeout(connect, 1000);
}

function take(message) {
  heardMs = performance.now();
  const { kind, trace, events, strides: more, forces: pushed, stances: stood, ...lasting } = message;
  if (kind === "hello") {
    for (const key of Object.keys(known)) delete known[key];
    noted = message.note?.at_s ?? null; // an old note is not news
    strides.length = stances.length = 0;
    charts.clear();
    loads.forEach((one) => one.clear());
    phases.clear();
  }
  Object.assign(known, lasting);
  if (kind === "hello" || message.trace_names) {
    charts.about(known.trace_names ?? [], known.band ?? {});
    $("band-key").hidden = !Object.keys(known.band ?? {}).length;
  }
  takeForces(pushed ?? [], stood ?? [], kind === "hello");
  strides.push(...(more ?? []));
  strides.splice(0, Math.max(0, strides.length - 10));
  charts.take(trace ?? [], known.state);
  phases.take(known.state, events ?? []);
  if (more?.length || kind === "hello") showStrides($("stride-rows"), strides);
  if (message.grades !== undefined) showGrades(message.grades);
  if (message.note && message.note.at_s !== noted) {
    noted = message.note.at_s;
    toast(message.note.text);
  }
}

function takeForces(rows, more, afresh) {
  $("forces").hidden = $("moments").hidden = !known.force_names;
  document.body.classList.toggle("with-forces", Boolean(known.force_names));
  if (!known.force_names) return;
  const moments = known.force_names.some((name) => name.includes("_moment_"));
  $("moments").hidden = !moments;
  if (!loads.length) {
    loads = [new Charts($("force-charts"), FORCES), ...(moments ? [new Charts($("moment-charts"), MOMENTS)] : [])];
    for (const one of loads) one.over(charts.axis);
  }
  for (const one of loads) {
    if (afresh || one.names !== known.force_names) one.about(known.force_names, {});
    one.take(rows);
  }
  stances.push(...more);
  stances.splice(0, Math.max(0, stances.length - 6));
  if (more.length || afresh) showStances($("stance-rows"), stances);
}

function frame(nowMs) {
  requestAnimationFrame(frame);
  if (document.hidden) return;
  if (known.state) skeleton.draw(known.state, fresh(nowMs));
  if (nowMs - drawnMs < REDRAW_MS) return;
  drawnMs = nowMs;
  showBelief(nowMs);
  showControls();
  showWizard();
  showClass($("class"), known.state);
  showSensors($("slots"), $("links"), known);
  phases.draw();
  charts.draw(known.state, fresh(nowMs));
  for (const one of loads) one.draw(known.state, fresh(nowMs));
  const told = known.state?.loads;
  $("loads-belief").textContent = !told || told.validity === "good" ? "" : `${told.validity}: ${plain(told.reason)}`;
}

function fresh(nowMs) {
  return nowMs - heardMs < SILENT_MS && !known.calibration && known.silence_s == null && !known.ended;
}

function showBelief(nowMs) {
  const banner = $("banner");
  let words = "";
  if (known.ended) words = "The session has ended.";
  else if (heardMs && socket.readyState !== WebSocket.OPEN) words = "The connection to the device is lost.";
  else if (heardMs && nowMs - heardMs >= SILENT_MS) words = "The session says nothing.";
  else if (known.silence_s != null) words = `No data from any sensor for ${known.silence_s.toFixed(1)} s.`;
  banner.hidden = !words;
  banner.textContent = words;
  banner.classList.toggle("calm", Boolean(known.ended));
  document.body.classList.toggle("stale", Boolean(words));

  const state = known.state;
  const belief = known.calibration ? "calibrating" : words ? "invalid" : state?.validity ?? "waiting";
  document.body.dataset.belief = belief;
  const reason = words || belief === "calibrating" ? "" : plain(state?.reason);
  $("belief").textContent = words && belief === "invalid" ? "no live values" : reason ? `${belief}: ${reason}` : belief;
  $("belief").title = $("belief").textContent;
  document.title = known.title ?? "Talaria";
  $("title").textContent = known.title ?? "Talaria";
}

function showControls() {
  const on = Boolean(known.recording);
  const open = socket?.readyState === WebSocket.OPEN && !known.ended;
  const record = $("record");
  record.dataset.wish = on ? "stop" : "start";
  record.textContent = on ? "Stop" : "Start";
  record.disabled = !open || !(on || known.can_record);
  record.title = on ? "Close the recording; the live view goes on" : known.can_record
    ? "Begin a recording" : "Nothing is recorded in this session (--no-record)";
  $("mark").disabled = !open || !on;
  $("recalibrate").disabled = $("finish").disabled = !open;
  $("recording").hidden = !on;
  $("recording").title = known.recording ?? "";
}

function showWizard() {
  const now = known.calibration;
  $("wizard").hidden = !now;
  if (!now) return;
  const order = ["standing", "walking", "swinging", "done"];
  if (now.stage === "swinging") $("step-swinging").hidden = false; // an extra some sessions ask for
  order.forEach((stage, i) => {
    $(`step-${stage}`).className = i === order.indexOf(now.stage) ? "now" : i < order.indexOf(now.stage) ? "past" : "";
  });
  $("hint").textContent = plain(now.hint);
  $("fraction").value = now.fraction;
}

function showGrades(report) {
  $("grades").hidden = !report;
  if (!report) return;
  $("verdict").textContent = plain(report.verdict);
  $("repeat").textContent = report.repeat ? `To repeat: ${plain(report.repeat)}` : "";
  $("grade-rows").replaceChildren(...report.lines.map((line) => {
    const row = document.createElement("tr");
    for (const text of [plain(line.slot), line.grade, plain(line.reason)]) row.insertCell().textContent = text;
    return row;
  }));
}

let toastTimer = 0;
function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, 2500);
}

const QUESTIONS = {
  recalibrate: "Calibrate again? The wearer stands still, then walks; there are no angles meanwhile.",
  finish: "Finish the session? The recording is closed and the program ends.",
};

for (const button of document.querySelectorAll("footer button")) {
  button.addEventListener("click", () => {
    const wish = button.dataset.wish;
    if (QUESTIONS[wish] && !confirm(QUESTIONS[wish])) return;
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ wish }));
  });
}
for (const button of document.querySelectorAll("#axis button")) {
  button.addEventListener("click", () => {
    charts.over(button.dataset.axis);
    loads.forEach((one) => one.over(button.dataset.axis));
    for (const other of document.querySelectorAll("#axis button")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
  });
}
$("grades-close").addEventListener("click", () => { $("grades").hidden = true; });

connect();
requestAnimationFrame(frame);
