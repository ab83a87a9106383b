// A run while it trains: its grids of fakes over time, its curves as SVG, how far it is, advice.

import { $, ask, make } from "./studio-parts.js";
import { renew } from "./studio.js";

const EVERY = 4000;
const GROUPS = [
  ["Score (lower is better)", [["distance", "each"], ["smooth", "smoothed"]], "scores"],
  ["Losses", [["loss_g", "generator"], ["loss_d", "discriminator"]], "stats"],
  ["Signs: how D tells them apart", [["sign_real", "real"], ["sign_fake", "fake"]], "stats"],
  ["Augmentation", [["augment_p", "strength"], ["ada_p", "strength"], ["p", "strength"]], "stats"],
  ["R1: D's slope on real pictures", [["r1", "R1"]], "stats"],
  ["Seconds per 1,000 images", [["sec_per_kimg", "seconds"]], "stats"],
];
const SVG = "http://www.w3.org/2000/svg";
let timer = 0, run = null, follow = true, playing = 0, last = "";

export async function showTraining() {
  stopTraining();
  await look();
  timer = setInterval(() => { if (document.visibilityState === "visible") look(); }, EVERY);
}

export function stopTraining() {
  clearInterval(timer);
  clearInterval(playing);
  playing = 0;
}

async function look() {
  try { run = await ask("/api/live"); } catch { return; }
  $("run-name").textContent = run.run;
  const share = run.goal_kimg ? Math.min(run.kimg / run.goal_kimg, 1) : 0;
  $("run-progress").firstElementChild.style.width = `${100 * share}%`;
  const facts = [run.goal_kimg ? `${kimg(run.kimg)} of ${kimg(run.goal_kimg)}` : kimg(run.kimg), `${duration(run.sec)} so far`];
  const left = run.sec_per_kimg && run.goal_kimg ? (run.goal_kimg - run.kimg) * run.sec_per_kimg : 0;
  if (left > 1) facts.push(`about ${duration(left)} to go`);
  $("run-facts").textContent = run.sec || run.kimg ? facts.join(" · ") : "It has just begun: the first figures come with its first tick.";
  $("run-advice").replaceChildren(...run.advice.slice(-3).map(([at, line]) => make("li", {}, `At ${kimg(at)}: ${line}`)));
  showBanner();

  const at = $("grid-at"), top = Math.max(run.fakes.length - 1, 0);
  if (+at.max !== top) at.max = top;
  if (follow && !playing) at.value = top;
  showGrid();
  const text = JSON.stringify([run.stats, run.scores]);
  if (text !== last) { last = text; $("charts").replaceChildren(...charts()); }
}

function showBanner() {
  if (!run.newer) { $("banner").hidden = true; return; }
  $("banner").replaceChildren("The run has written a newer model.", make("button", { class: "strong", onclick: async () => {
    await ask("/api/reload", { method: "POST" });
    $("banner").hidden = true;
    await renew();
  } }, "Draw with it"));
  $("banner").hidden = false;
}

function showGrid() {
  const name = run.fakes[+$("grid-at").value];
  $("grid").closest("figure").hidden = !name;
  if (!name) return;
  const address = `/fakes/${name}`;
  if ($("grid").getAttribute("src") !== address) $("grid").src = address;
  $("grid-kimg").value = kimg(+name.slice(3, 12) / 1000);
}

// ---------------------------------------------------------------- curves

function charts() {
  const shown = new Set(["sec"]), drawn = [];
  for (const [title, names, table] of GROUPS) {
    const lines = names.filter(([name]) => run[table][name]?.length).map(([name, label]) => { shown.add(name); return [label, run[table][name]]; });
    if (lines.length) drawn.push(chart(title, lines));
  }
  for (const [name, points] of Object.entries(run.stats)) if (!shown.has(name) && new Set(points.map((point) => point[1])).size > 1) drawn.push(chart(name.replaceAll("_", " "), [[name, points]]));
  return drawn.length ? drawn : [make("p", { class: "wide" }, "Curves come with the first tick.")];
}

/** One chart: lines over kimg with their last values. */
function chart(title, lines) {
  const width = 320, height = 150, left = 38, bottom = 18, top = 8;
  const points = lines.flatMap(([, line]) => line), right = Math.max(...points.map(([x]) => x)) || 1, begin = Math.min(...points.map(([x]) => x), right * 0.999);
  let low = Math.min(...points.map(([, y]) => y)), high = Math.max(...points.map(([, y]) => y));
  if (high - low < 1e-9) { low -= Math.abs(low) * 0.1 || 1; high += Math.abs(high) * 0.1 || 1; }
  const x = (value) => left + (value - begin) / (right - begin || 1) * (width - left - 8), y = (value) => top + (high - value) / (high - low) * (height - top - bottom);
  const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  for (const value of ticks(low, high)) svg.append(node("line", { class: "rule", x1: left, x2: width - 8, y1: y(value), y2: y(value) }), node("text", { x: left - 5, y: y(value) + 3, "text-anchor": "end" }, short(value)));
  svg.append(node("text", { x: left, y: height - 4 }, short(begin)), node("text", { x: width - 8, y: height - 4, "text-anchor": "end" }, kimg(right)));
  lines.forEach(([, line], i) => {
    if (line.length > 1) svg.append(node("path", { class: `c${i}`, d: "M" + line.map((point) => `${x(point[0]).toFixed(1)},${y(point[1]).toFixed(1)}`).join("L") }));
    const [endX, endY] = line.at(-1);
    svg.append(node("circle", { class: `c${i}`, cx: x(endX), cy: y(endY), r: 2 }));
  });
  const legend = make("p", {}, ...lines.map(([label, line], i) => make("span", {}, make("i", { class: `c${i}` }), `${label} ${short(line.at(-1)[1])}`)));
  return make("div", { class: "chart" }, make("h2", {}, title), legend, svg);
}

function node(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function ticks(low, high) {
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough)), step = power * ([1, 2, 2.5, 5, 10].find((times) => times * power >= rough) ?? 10);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) found.push(value);
  return found;
}

const short = (value) => (value === 0 || Math.abs(value) < 1e-12 ? "0" : Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3 ? value.toExponential(1) : String(+value.toPrecision(3)));
const kimg = (value) => (value >= 1000 ? `${+(value / 1000).toPrecision(3)} million` : `${+value.toPrecision(3)} kimg`);
function duration(sec) {
  const minutes = Math.round(sec / 60);
  return sec < 90 ? `${Math.round(sec)} s` : minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

$("grid-at").oninput = () => { follow = +$("grid-at").value === run.fakes.length - 1; showGrid(); };
$("grid-play").onclick = () => {
  if (playing) { clearInterval(playing); playing = 0; return; }
  if (+$("grid-at").value >= run.fakes.length - 1) $("grid-at").value = 0;
  playing = setInterval(() => {
    const next = +$("grid-at").value + 1;
    if (next >= run.fakes.length) { clearInterval(playing); playing = 0; follow = true; return; }
    $("grid-at").value = next;
    showGrid();
  }, 250);
};
