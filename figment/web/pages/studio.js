// The studio's page: the wall, picking and breeding, favourites, keys, and what the address shows.

import { $, ask, face, icon, isSeed, join, make, post, query, split, state, tell, tileSize, titleOf, watch } from "./studio-parts.js";
import { closeFace, faceKey, openFace } from "./studio-face.js";
import { showMorph, stopMorph } from "./studio-morph.js";
import { showTraining, stopTraining } from "./studio-live.js";

const VIEWS = ["wall", "breed", "morph", "favourites", "training"];
const LOAD = 48;
const MOST = 4;
let view = "", behind = "/", wall = { first: 0, next: 0, psi: null };

// ---------------------------------------------------------------- tiles

function tile(recipe, { label = titleOf(recipe), large = false } = {}) {
  const like = make("button", { class: "like", title: "Keep (f)", "aria-label": "Keep", onclick: () => keep(recipe) }, icon("heart"));
  const pick = make("button", { class: "pick", title: "Pick as a parent (x)", "aria-label": "Pick", onclick: () => choose(recipe) }, icon("plus"));
  const open = make("a", { href: "/" + query([["r", recipe]]), "aria-label": label, onclick: (event) => {
    if (event.metaKey || event.ctrlKey) return;
    event.preventDefault();
    event.shiftKey ? choose(recipe) : go([["r", recipe]]);
  } }, face(recipe, large ? 256 : tileSize(), ""));
  const box = make("div", { class: "tile" }, open, make("span", { class: "label" }, label), make("span", { class: "does" }, like, pick));
  box.dataset.recipe = recipe;
  mark(box);
  return box;
}

function mark(box) {
  const recipe = box.dataset.recipe, kept = state.kept.has(recipe), chosen = state.picked.includes(recipe);
  box.classList.toggle("kept", kept);
  box.classList.toggle("chosen", chosen);
  box.querySelector(".like")?.setAttribute("aria-pressed", kept);
  box.querySelector(".pick")?.setAttribute("aria-pressed", chosen);
}

export function markAll() {
  for (const box of document.querySelectorAll(".tile")) mark(box);
  $("count").textContent = state.kept.size || "";
}

// ---------------------------------------------------------------- the wall

function fillWall() {
  const psi = state.psi;
  const more = Array.from({ length: LOAD }, () => tile(`${wall.next++ % 2 ** 32}@${psi}`));
  $("wall-tiles").append(...more);
}

function showWall(first) {
  if (wall.first === first && wall.psi === state.psi && $("wall-tiles").children.length) return;
  wall = { first, next: first, psi: state.psi };
  $("wall-tiles").replaceChildren();
  fillWall();
}

const sentinel = new IntersectionObserver(([entry]) => {
  if (entry.isIntersecting && view === "wall" && state.about?.model) {
    fillWall();
    sentinel.unobserve(entry.target);
    setTimeout(() => sentinel.observe(entry.target), 60);
  }
}, { rootMargin: "900px" });

// ---------------------------------------------------------------- picking, breeding, keeping

export function choose(recipe) {
  const at = state.picked.indexOf(recipe);
  if (at >= 0) state.picked.splice(at, 1);
  else if (state.picked.length < MOST) state.picked.push(recipe);
  else tell(`${MOST} are picked already`);
  showTray();
}

function showTray() {
  $("tray").hidden = !state.picked.length;
  $("picked").replaceChildren(...state.picked.map((recipe) => make("button", { title: "Let go", "aria-label": `Let go ${titleOf(recipe)}`, onclick: () => choose(recipe) }, face(recipe, 96, ""))));
  for (const id of ["do-breed", "do-morph"]) $(id).disabled = state.picked.length < 2;
  markAll();
}

async function showBreed(parents, seed, mutation) {
  $("mutation").value = mutation;
  $("mutation").nextElementSibling.value = mutation;
  $("parents").replaceChildren(...parents.flatMap((recipe, i) => (i ? ["×"] : []).concat(tile(recipe))));
  const children = await ask("/api/children" + query([...parents.map((recipe) => ["r", recipe]), ["seed", seed], ["mutation", mutation]]));
  $("children").replaceChildren(...children.map((recipe, i) => tile(recipe, { label: `Child ${i + 1}`, large: true })));
}

function litter() {
  const now = new URLSearchParams(location.search);
  go([...now.getAll("r").map((recipe) => ["r", recipe]), ["view", "breed"], ["seed", Math.floor(Math.random() * 1e6)], ["mutation", $("mutation").value]], true);
}

export async function keep(recipe, name = "") {
  const kept = state.kept.get(recipe);
  if (kept && !name) {
    await ask(`/api/favourites/${kept.id}`, { method: "DELETE" });
    state.kept.delete(recipe);
  } else {
    const row = await post("/api/favourites", { recipe, name });
    state.kept.set(recipe, row);
    if (row.recipe !== recipe) state.kept.set(row.recipe, row);
  }
  markAll();
  if (view === "favourites") showFavourites();
}

async function showFavourites() {
  const rows = await ask("/api/favourites");
  state.kept = new Map(rows.map((row) => [row.recipe, row]));
  $("kept").textContent = rows.length ? "Kept in a file beside the model. Pick some to breed or to morph between." : "Nobody yet. The heart on a character keeps it here.";
  $("favourite-tiles").replaceChildren(...rows.map((row) => tile(row.recipe, { large: true })));
  markAll();
}

// ---------------------------------------------------------------- projecting

async function project(file) {
  if (!file) return;
  const job = await ask("/api/project" + query([["name", file.name]]), { method: "POST", body: file, headers: { "content-type": file.type || "application/octet-stream" } });
  const done = await watch(job, `Looking for the character in ${file.name}`);
  if (done) go([["r", done.recipe]]);
}

// ---------------------------------------------------------------- addresses

/** Show what an address asks for: entries of a query. */
export function go(entries, replace = false) {
  history[replace ? "replaceState" : "pushState"]({}, "", "/" + (entries.length ? query(entries) : ""));
  route();
}

function route() {
  const now = new URLSearchParams(location.search), recipes = now.getAll("r");
  let wanted = now.get("view") ?? (recipes.length ? view || "wall" : "wall");
  if (!VIEWS.includes(wanted) || (wanted === "training" && !state.about.run)) wanted = "wall";
  if (!state.about.model && state.about.run) wanted = "training";
  const alone = recipes.length === 1 && !now.has("view");
  if (!alone || !view) {
    view = wanted;
    if (!alone) behind = location.pathname + location.search;
    for (const name of VIEWS) $(name).hidden = name !== view;
    for (const link of document.querySelectorAll("[data-view]")) link.dataset.view === view && !link.classList.contains("mark") ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
    stopMorph();
    stopTraining();
    if (view === "wall") showWall(Math.min(+now.get("from") || 0, 2 ** 32 - 1));
    if (view === "breed") showBreed(recipes, now.get("seed") ?? 0, now.get("mutation") ?? 0.15).catch(() => {});
    if (view === "morph") showMorph(recipes);
    if (view === "favourites") showFavourites();
    if (view === "training") showTraining();
  }
  alone ? openFace(recipes[0]) : closeFace();
  document.title = alone ? `${titleOf(recipes[0])} · figment` : "figment studio";
}

/** Close the character; the address is again that of what lies behind. */
export function leaveFace() {
  closeFace();
  history.pushState({}, "", behind);
  document.title = "figment studio";
}

// ---------------------------------------------------------------- what buttons and keys do

const actions = {
  breed: () => state.picked.length > 1 && go([...state.picked.map((recipe) => ["r", recipe]), ["view", "breed"], ["seed", 0], ["mutation", $("mutation").value]]),
  morph: () => state.picked.length > 1 && go([...state.picked.map((recipe) => ["r", recipe]), ["view", "morph"]]),
  shuffle: () => (view === "breed" ? litter() : go([["from", Math.floor(Math.random() * 4e9)]])),
  upload: () => $("file").click(),
};

function listen() {
  for (const link of document.querySelectorAll("[data-view]")) link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey) return;
    event.preventDefault();
    go(link.dataset.view === "wall" ? [] : [["view", link.dataset.view]]);
  });
  $("do-breed").onclick = actions.breed;
  $("do-morph").onclick = actions.morph;
  $("clear").onclick = () => { state.picked = []; showTray(); };
  $("shuffle").onclick = actions.shuffle;
  $("upload").onclick = actions.upload;
  $("again").onclick = litter;
  $("mutation").oninput = () => { $("mutation").nextElementSibling.value = $("mutation").value; };
  $("mutation").onchange = litter;
  $("file").onchange = () => { project($("file").files[0]).catch(() => {}); $("file").value = ""; };
  $("go").onsubmit = (event) => { event.preventDefault(); if ($("seed").value) go([["r", `${+$("seed").value}@${state.psi}`]]); };
  $("psi").oninput = () => { $("psi-value").value = $("psi").value; };
  $("psi").onchange = () => { state.psi = +$("psi").value; if (view === "wall") showWall(wall.first); };
  addEventListener("popstate", route);
  addEventListener("keydown", key);
  addEventListener("paste", (event) => project(event.clipboardData.files[0]).catch(() => {}));
  addEventListener("dragover", (event) => { if (event.dataTransfer.types.includes("Files")) { event.preventDefault(); $("drop").hidden = false; } });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").hidden = true; });
  addEventListener("drop", (event) => { event.preventDefault(); $("drop").hidden = true; project(event.dataTransfer.files[0]).catch(() => {}); });
}

function key(event) {
  if (event.metaKey || event.ctrlKey || event.altKey || /^(text|number)$/.test(event.target.type) || event.target.inputMode === "numeric") return;
  if (event.key === "?") return $("help").open ? $("help").close() : $("help").showModal();
  if ($("help").open) return;
  if ($("face").open) return faceKey(event);
  const box = event.target.closest?.(".tile"), recipe = box?.dataset.recipe;
  if (recipe && event.key === "f") return keep(recipe).catch(() => {});
  if (recipe && event.key === "x") return choose(recipe);
  const todo = { b: actions.breed, m: actions.morph, r: actions.shuffle, u: actions.upload, 1: () => go([]), 2: () => go([["view", "favourites"]]), 3: () => state.about.run && go([["view", "training"]]) }[event.key];
  if (todo) return todo();
  if (event.key.startsWith("Arrow") && event.target.type !== "range" && event.target.id !== "stage") step(event, box);
}

function step(event, box) {
  const tiles = [...document.querySelectorAll("main section:not([hidden]) .tile")];
  if (!tiles.length) return;
  const first = tiles[0].getBoundingClientRect().top;
  const columns = tiles.findIndex((other) => other.getBoundingClientRect().top > first + 5);
  const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns < 1 ? 1 : columns, ArrowUp: columns < 1 ? -1 : -columns }[event.key];
  const next = box ? tiles[tiles.indexOf(box) + by] : tiles[0];
  if (next) { event.preventDefault(); next.querySelector("a").focus(); next.scrollIntoView({ block: "nearest" }); }
}

function describe() {
  const { model, name, run } = state.about;
  $("to-training").hidden = !run;
  const facts = [name];
  if (model) facts.push(`${model.width} by ${model.height} pixels`);
  if (model?.pictures) facts.push(`learned from ${model.pictures} pictures`);
  if (model?.kimg) facts.push(`${Math.round(model.kimg * 1000).toLocaleString()} looks at them`);
  $("facts").textContent = facts.join(" · ");
}

/** Ask anew what is shown here, after a run's newer model was taken up. */
export async function renew() {
  state.about = await ask("/api/about");
  describe();
  wall.psi = null;
  route();
}

async function start() {
  state.about = await ask("/api/about");
  describe();
  listen();
  const rows = await ask("/api/favourites");
  state.kept = new Map(rows.map((row) => [row.recipe, row]));
  const now = new URLSearchParams(location.search);
  if (now.has("psi") && Number.isFinite(+now.get("psi"))) state.psi = +now.get("psi");
  $("psi").value = $("psi-value").value = state.psi;
  markAll();
  route();
  sentinel.observe($("more"));
  document.body.dataset.ready = "";
}

start();
