// The page's script: the viewer for one character and, where the generator lies beside the page, new ones for ever.
"use strict";

const site = JSON.parse(document.getElementById("site").textContent);
const wall = document.getElementById("wall");
const viewer = document.getElementById("viewer");
const find = (selector) => viewer.querySelector(selector);
const [image, canvas] = [find("img"), find("canvas")];
const BATCH = 24;           // new characters drawn at a time
const TILE = 256;           // a tile's canvas has at most so many pixels a side

// ---------------------------------------------------------------------- the generator, in its own thread

let worker, ready, lastId = 0;
const waiting = new Map();

function generator(tell) {
  if (!ready) ready = new Promise((resolve, reject) => {
    if (location.protocol === "file:") throw new Error("Drawing needs a web server: browsers don't run it from a file.");
    worker = new Worker("gallery-worker.js");
    worker.onerror = (event) => reject(new Error(event.message || "this browser could not start the generator"));
    worker.onmessage = ({ data }) => {
      if (data.kind === "progress") document.dispatchEvent(new CustomEvent("loading", { detail: data.share }));
      else if (data.kind === "ready") resolve();
      else if (data.kind === "error" && data.id === undefined) reject(new Error(data.text));
      else {
        const [keep, fail] = waiting.get(data.id);
        waiting.delete(data.id);
        data.kind === "picture" ? keep(data) : fail(new Error(data.text));
      }
    };
    worker.postMessage({ kind: "load", facts: site.generator });
  });
  return ready;
}

// The picture of {seed, psi, to, at} as ImageData, by the generator.
async function draw(recipe) {
  await generator();
  const id = ++lastId;
  const done = new Promise((keep, fail) => waiting.set(id, [keep, fail]));
  worker.postMessage({ kind: "draw", id, ...recipe });
  const { pixels, width, height } = await done;
  return new ImageData(pixels, width, height);
}

function show(target, picture, most = Infinity) {
  const scale = Math.min(1, most / Math.max(picture.width, picture.height));
  if (scale === 1) {
    [target.width, target.height] = [picture.width, picture.height];
    return target.getContext("2d").putImageData(picture, 0, 0);
  }
  const whole = document.createElement("canvas");
  show(whole, picture);
  [target.width, target.height] = [Math.round(picture.width * scale), Math.round(picture.height * scale)];
  const context = target.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(whole, 0, 0, target.width, target.height);
}

// ---------------------------------------------------------------------- the endless wall

const endless = document.getElementById("endless");
const randomSeed = () => Math.floor(Math.random() * 10_000_000);

async function drawMore() {
  const psi = Number(endless.querySelector("input").value);
  for (let i = 0; i < BATCH; i++) {
    const seed = randomSeed();
    const picture = await draw({ seed, psi });
    const tile = document.createElement("a");
    const label = document.createElement("span");
    const face = document.createElement("canvas");
    tile.href = `#seed=${seed}&psi=${psi}`;
    [tile.dataset.seed, tile.dataset.psi, label.textContent] = [seed, psi, seed];
    face.setAttribute("role", "img");
    face.setAttribute("aria-label", `character ${seed}`);
    show(face, picture, TILE);
    tile.append(face, label);
    wall.append(tile);
  }
}

if (endless) {
  const [start, bar, note] = ["button", "progress", ".note"].map((name) => endless.querySelector(name));
  const [slider, value] = [endless.querySelector("input"), endless.querySelector("output")];
  slider.oninput = () => { value.textContent = slider.value; };
  slider.value = site.psi;
  slider.oninput();
  document.addEventListener("loading", (event) => { bar.hidden = event.detail >= 1; bar.value = event.detail; });
  let running = false, near = false;
  const goOn = async () => {
    if (running || start.dataset.on !== "1") return;
    running = true;
    try {
      do await drawMore(); while (near && !viewer.open);
    } catch (error) {
      start.dataset.on = "";
      [start.hidden, start.disabled, note.textContent] = [false, false, error.message];
    }
    running = false;
  };
  new IntersectionObserver(([entry]) => {
    near = entry.isIntersecting;
    if (near) goOn();
  }, { rootMargin: "400px" }).observe(endless);
  const begin = async () => {
    [start.disabled, start.textContent, note.textContent] = [true, "Loading the generator…", ""];
    start.dataset.on = "1";
    try {
      await generator();
      [start.hidden, note.textContent] = [true, "Scroll on: there is no end."];
    } catch (error) {
      [start.disabled, start.textContent, start.dataset.on] = [false, "Draw new ones", ""];
      note.textContent = error.message;
      return;
    }
    goOn();
  };
  start.onclick = begin;
  const invite = document.getElementById("invite");
  invite.onclick = () => { endless.scrollIntoView({ behavior: "smooth", block: "center" }); begin(); };
  viewer.addEventListener("close", () => { if (near) goOn(); });
}

// ---------------------------------------------------------------------- one character, and its link

let shown = null; // {seed, psi, to, at} or {file, name}
let drawing = 0;

function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  const number = (name, low, high, other) => {
    const text = given.get(name);
    const value = Number(text);
    return text === null || text.trim() === "" || !(value >= low && value <= high) ? other : value;
  };
  const whole = (name) => {
    const value = number(name, 0, 4294967295, undefined);
    return Number.isInteger(value) ? value : undefined;
  };
  if (given.has("favourite")) {
    const tile = document.querySelector(`[data-favourite="${CSS.escape(given.get("favourite"))}"]`);
    return tile && { favourite: given.get("favourite"), file: tile.dataset.file, name: tile.textContent.trim() };
  }
  const seed = whole("seed");
  return seed === undefined ? null
    : { seed, psi: number("psi", 0, 2, site.psi), to: whole("to"), at: number("at", 0, 1, 0) };
}

function hashOf(recipe) {
  if (recipe.favourite !== undefined) return `#favourite=${recipe.favourite}`;
  const parts = [`seed=${recipe.seed}`];
  if (recipe.psi !== site.psi) parts.push(`psi=${recipe.psi}`);
  if (recipe.to !== undefined) parts.push(`to=${recipe.to}`, `at=${recipe.at}`);
  return `#${parts.join("&")}`;
}

// The file that holds the picture already, if one does.
function fileOf(recipe) {
  if (recipe.file) return recipe.file;
  const still = recipe.psi === site.psi && (recipe.to === undefined || recipe.at === 0);
  const tile = still && wall.querySelector(`[data-seed="${recipe.seed}"][data-file]`);
  return tile ? tile.dataset.file : null;
}

async function open(recipe) {
  shown = recipe;
  if (!viewer.open) viewer.showModal();
  const isSeed = recipe.seed !== undefined;
  find(".name").textContent = isSeed ? `Seed ${recipe.seed}` : recipe.name || "A favourite";
  find(".knobs").hidden = !site.generator || !isSeed;
  find('[data-do="random"]').hidden = !site.generator;
  if (isSeed) {
    [find("#psi").value, find("output").textContent] = [recipe.psi, recipe.psi];
    if (document.activeElement !== find("#to")) find("#to").value = recipe.to ?? "";
    find("#at").value = recipe.at ?? 0;
    find("#at").disabled = recipe.to === undefined;
  }
  const file = fileOf(recipe);
  const save = find('[data-do="save"]');
  [image.hidden, canvas.hidden] = [!file, Boolean(file)];
  find(".note").textContent = "";
  const turn = ++drawing;
  if (file) {
    [image.src, image.alt, save.href] = [file, find(".name").textContent, file];
    save.download = file.split("/").pop();
    viewer.dataset.drawn = hashOf(recipe);
    return;
  }
  if (!site.generator) {
    find(".note").textContent = "This page holds only the characters on its wall.";
    return;
  }
  if (!worker) find(".note").textContent = `Loading the generator (${Math.round(site.generator.download / 1e6)} MB)…`;
  try {
    const picture = await draw(recipe);
    if (turn !== drawing) return;
    show(canvas, picture);
    canvas.setAttribute("aria-label", find(".name").textContent);
    [save.href, save.download] = [canvas.toDataURL("image/png"), `${hashOf(recipe).slice(1).replace(/[=&]/g, "-")}.png`];
    find(".note").textContent = "";
    viewer.dataset.drawn = hashOf(recipe);
  } catch (error) {
    if (turn === drawing) find(".note").textContent = error.message;
  }
}

function go(recipe) {
  history.replaceState(null, "", hashOf(recipe));
  open(recipe);
}

function step(by) {
  if (!shown || shown.seed === undefined) return;
  const tiles = [...wall.querySelectorAll("[data-seed]")];
  const at = tiles.findIndex((tile) => Number(tile.dataset.seed) === shown.seed);
  const next = at < 0 ? null : tiles[(at + by + tiles.length) % tiles.length];
  if (next) go({ seed: Number(next.dataset.seed), psi: Number(next.dataset.psi ?? site.psi) });
  else if (site.generator) go({ ...shown, seed: Math.max(0, shown.seed + by), to: undefined, at: 0 });
}

document.addEventListener("click", (event) => {
  const tile = event.target.closest(".wall a");
  if (!tile || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  const { seed, psi, favourite, file } = tile.dataset;
  go(favourite !== undefined ? { favourite, file, name: tile.textContent.trim() }
    : { seed: Number(seed), psi: Number(psi ?? site.psi) });
});

const does = {
  before: () => step(-1),
  next: () => step(1),
  random: () => go({ seed: randomSeed(), psi: shown.psi ?? site.psi }),
  close: () => viewer.close(),
  async link() {
    try {
      await navigator.clipboard.writeText(location.href);
      find(".note").textContent = "Copied.";
    } catch {
      find(".note").textContent = location.href;
    }
  },
};
viewer.addEventListener("click", (event) => {
  if (event.target === viewer) viewer.close();
  const action = event.target.closest("[data-do]")?.dataset.do;
  if (does[action]) does[action]();
});
viewer.addEventListener("keydown", (event) => {
  if (event.target.matches("input")) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
viewer.addEventListener("close", () => {
  shown = null;
  history.replaceState(null, "", location.pathname + location.search);
});
find("#psi").oninput = (event) => go({ ...shown, psi: Number(event.target.value) });
find("#at").oninput = (event) => go({ ...shown, at: Number(event.target.value) });
find("#to").onchange = (event) => {
  const text = event.target.value;
  const to = text === "" || !event.target.validity.valid ? undefined : Number(text);
  go({ ...shown, to, at: to === undefined ? 0 : shown.at || 0.5 });
};

// Dragging over the picture moves along the way to the other character.
canvas.onpointermove = (event) => {
  if (!event.buttons || !shown || shown.to === undefined) return;
  const { left, width } = canvas.getBoundingClientRect();
  go({ ...shown, at: Math.round(Math.min(1, Math.max(0, (event.clientX - left) / width)) * 100) / 100 });
};

function follow() {
  const recipe = readHash();
  if (recipe) open(recipe);
}
addEventListener("hashchange", follow);
follow();
