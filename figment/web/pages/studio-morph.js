// From one character to the next by dragging: frames are asked for ahead, coarse steps first, so that the hand finds them.

import { $, face, pictureOf, post, offer, state, titleOf, watch } from "./studio-parts.js";
import { make } from "./studio-parts.js";

const STEPS = 32;
let keys = [], along = 0, frames = new Map(), generation = 0, playing = 0, way = 1;

/** Show the way through `recipes`. */
export function showMorph(recipes) {
  keys = recipes;
  frames = new Map();
  generation++;
  $("stage").classList.remove("moved");
  if (keys.length < 2) return;
  $("along").max = keys.length - 1;
  $("along").step = 1 / STEPS;
  $("stops").replaceChildren(...keys.map((recipe, i) => make("button", { title: titleOf(recipe), "aria-label": titleOf(recipe), onclick: () => { stopPlaying(); place(i); } }, face(recipe, 96, ""))));
  place(0.5);
  prefetch(generation);
}

export function stopMorph() {
  generation++;
  stopPlaying();
}

const addressOf = (index) => {
  const from = Math.min(Math.floor(index / STEPS), keys.length - 2);
  return pictureOf([keys[from], keys[from + 1]], { at: index / STEPS - from, size: 512 });
};

/** Load every frame: first each eighth, then what lies between. */
async function prefetch(mine) {
  const last = (keys.length - 1) * STEPS, order = [];
  for (let gap = 8; gap >= 1; gap /= 2) for (let index = 0; index <= last; index += gap) if (!order.includes(index)) order.push(index);
  const lanes = Array.from({ length: 4 }, async () => {
    while (order.length && mine === generation) {
      const index = order.shift(), img = new Image();
      img.src = addressOf(index);
      try { await img.decode(); } catch { await new Promise((done) => setTimeout(done, 800)); if (mine === generation) order.push(index); continue; }
      if (mine !== generation) return;
      frames.set(index, img.src);
      if (Math.abs(index - along * STEPS) <= 8) place(along);
    }
  });
  await Promise.all(lanes);
}

/** Show the frame nearest to `value`, a position from 0 to the last key. */
function place(value) {
  along = Math.min(Math.max(value, 0), keys.length - 1);
  $("along").value = along;
  $("stage").setAttribute("aria-valuenow", Math.round(100 * along / (keys.length - 1)));
  const wanted = Math.round(along * STEPS);
  for (let off = 0; off <= STEPS; off++) {
    const found = frames.get(wanted - off) ?? frames.get(wanted + off);
    if (found) { if ($("frame").src !== found) $("frame").src = found; break; }
  }
  [...$("stops").children].forEach((stop, i) => stop.classList.toggle("near", Math.abs(i - along) < 0.5));
}

function stopPlaying() {
  cancelAnimationFrame(playing);
  playing = 0;
  $("play").lastElementChild.textContent = "Play";
  $("play").querySelector("use").setAttribute("href", "#i-play");
}

function play() {
  if (playing) return stopPlaying();
  $("play").lastElementChild.textContent = "Pause";
  $("play").querySelector("use").setAttribute("href", "#i-pause");
  let before = performance.now();
  const tick = (now) => {
    let next = along + way * (now - before) / 1500;
    before = now;
    if (next >= keys.length - 1 || next <= 0) way = -way;
    place(next);
    playing = requestAnimationFrame(tick);
  };
  playing = requestAnimationFrame(tick);
}

// A drag over the whole width goes from one character to the next.
let held = null;
$("stage").addEventListener("pointerdown", (event) => {
  stopPlaying();
  held = { x: event.clientX, along };
  $("stage").setPointerCapture(event.pointerId);
});
$("stage").addEventListener("pointermove", (event) => {
  if (!held) return;
  $("stage").classList.add("moved");
  place(held.along + (event.clientX - held.x) / $("stage").clientWidth);
});
for (const end of ["pointerup", "pointercancel"]) $("stage").addEventListener(end, () => { held = null; });
$("stage").addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (by) { event.preventDefault(); stopPlaying(); place(along + by / STEPS); }
});
$("along").oninput = () => { stopPlaying(); place(+$("along").value); };
$("play").onclick = play;
$("film").onclick = async () => {
  try {
    const done = await watch(await post("/api/film", { r: keys, seconds: +$("seconds").value || 6, fps: 30 }), `A film through ${keys.length} characters`);
    if (done) offer("The film is done: a closed loop at an even pace.", "Download MP4", `${done.film}?download`);
  } catch { /* told already */ }
};
