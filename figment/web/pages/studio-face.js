// One character, large: sliders for variety, mixing and directions; every move redraws and rewrites the address.

import { $, ask, face, isSeed, join, make, pictureOf, query, shower, split, state, tell, titleOf } from "./studio-parts.js";
import { choose, go, keep, leaveFace } from "./studio.js";

const BANDS = ["coarse", "middle", "fine"];
const show = shower($("portrait"));
let base = null, first = "", partner = "", shares = [0, 0, 0], current = "", turn = 0;

/** Open `recipe`, as an address tells it. */
export function openFace(recipe) {
  if ($("face").open && recipe === current) return;
  begin(recipe);
  first = recipe;
  if (!$("face").open) $("face").showModal();
}

export function closeFace() {
  if ($("face").open) $("face").close();
}

function begin(recipe) {
  base = split(recipe);
  shares = [0, 0, 0];
  partner ||= String(Math.floor(Math.random() * 1e6));
  showPartner();
  for (const slider of document.querySelectorAll("[data-band]")) set(slider, 0, "");
  set($("face-psi"), base.psi, base.psi);
  showDirections();
  settle(recipe);
}

function set(slider, value, text) {
  slider.value = value;
  slider.nextElementSibling.value = text;
}

function showPartner() {
  const img = face(`${partner}@${base.psi}`, 96, "To mix in");
  img.loading = "eager";
  $("partner").querySelector("img").replaceWith(img);
}

function showDirections() {
  const offered = state.about.directions, place = $("directions");
  place.hidden = !offered.length;
  place.replaceChildren(place.firstElementChild, ...offered.map(({ name, reach }) => {
    const value = base.edits.get(name) ?? 0, output = make("output");
    const slider = make("input", { type: "range", min: -reach, max: reach, step: reach / 60, "data-direction": name, oninput: () => {
      base.edits.set(name, Math.round(slider.value * 100) / 100);
      output.value = slider.value == 0 ? "" : (+slider.value).toFixed(1);
      update();
    }, ondblclick: () => { slider.value = 0; slider.dispatchEvent(new Event("input")); } });
    slider.value = value;
    output.value = value ? value.toFixed(1) : "";
    return make("label", { class: "slide" }, make("span", { title: name }, name), slider, output);
  }));
}

/** What the sliders say, as a recipe; mixing is the studio's arithmetic. */
async function compose() {
  const plain = { ...base, edits: new Map() };
  if (!shares.some(Boolean)) return join(base);
  const address = "/api/blend" + query([["r", join(plain)], ["r", `${partner}@${base.psi}`], ...BANDS.map((band, i) => [band, shares[i]])]);
  const { recipe } = await ask(address);
  return join({ ...split(recipe), edits: base.edits });
}

async function update() {
  const mine = ++turn, recipe = await compose();
  if (mine !== turn) return;
  settle(recipe);
  history.replaceState({}, "", "/" + query([["r", recipe]]));
}

/** Show `recipe`: its picture, its name, its buttons. */
function settle(recipe) {
  current = recipe;
  show(pictureOf(recipe));
  $("title").textContent = titleOf(recipe);
  $("recipe").textContent = recipe;
  $("png").href = pictureOf(recipe, { download: true });
  const source = /^(p[0-9a-f]{16})$/.exec(split(recipe).terms)?.[1] ?? /^(p[0-9a-f]{16})(?=[:;,])/.exec(split(recipe).terms)?.[1];
  $("target").hidden = !source;
  if (source) $("target").querySelector("img").src = `/latents/${source}.png`;
  marks();
}

function marks() {
  const kept = state.kept.has(current), picked = state.picked.includes(current);
  $("keep").setAttribute("aria-pressed", kept);
  $("keep").lastElementChild.textContent = kept ? "Kept" : "Keep";
  $("pick").setAttribute("aria-pressed", picked);
  $("pick").lastElementChild.textContent = picked ? "Picked" : "Pick";
  $("pick").querySelector("use").setAttribute("href", picked ? "#i-check" : "#i-plus");
}

const actions = {
  f: async () => { await keep(current); marks(); },
  x: () => { choose(current); marks(); },
  n: async () => {
    const name = prompt("What is the name of this character?", state.kept.get(current)?.name ?? "")?.trim().slice(0, 80);
    if (name) { await keep(current, name); settle(current); }
  },
  d: () => $("png").click(),
  c: async () => {
    const link = new URL("/" + query([["r", current]]), location.href).href;
    try { await navigator.clipboard.writeText(link); tell("The link is copied: it draws this one again"); } catch { tell(link); }
  },
};

/** A key pressed while a character is open. */
export function faceKey(event) {
  if (actions[event.key]) return actions[event.key]();
  if (event.target.type === "range" || !isSeed(current)) return;
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const seed = +split(current).terms + by;
  if (by && seed >= 0 && seed < 2 ** 32) go([["r", join({ ...split(current), terms: String(seed) })]], true);
}

$("keep").onclick = () => actions.f().catch(() => {});
$("pick").onclick = actions.x;
$("title").onclick = () => actions.n().catch(() => {});
$("copy").onclick = actions.c;
$("close").onclick = leaveFace;
$("face").addEventListener("cancel", (event) => { event.preventDefault(); leaveFace(); });
$("face").addEventListener("click", (event) => { if (event.target === $("face")) leaveFace(); });
$("reset").onclick = () => { begin(first); history.replaceState({}, "", "/" + query([["r", first]])); };
$("partner").onclick = () => { partner = String(Math.floor(Math.random() * 1e6)); showPartner(); if (shares.some(Boolean)) update(); };
$("face-psi").oninput = () => { base.psi = +$("face-psi").value; set($("face-psi"), base.psi, base.psi); update(); };
for (const slider of document.querySelectorAll("[data-band]")) slider.oninput = () => {
  shares[+slider.dataset.band] = +slider.value;
  slider.nextElementSibling.value = +slider.value ? `${Math.round(slider.value * 100)}%` : "";
  update();
};
