// What all parts of the page share: elements, requests, recipes as text, pictures that come when drawn, messages.

export const $ = (id) => document.getElementById(id);

/** An element: make("button", {class: "x", onclick}, child, "text"). */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** An icon of the sprite in the page. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg"), use = document.createElementNS(space, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A request to the studio; what goes wrong is told and thrown. */
export async function ask(address, options = {}) {
  let answer;
  try { answer = await fetch(address, options); } catch { tell("The studio does not answer. Is it still running?"); throw new Error("gone"); }
  if (answer.status === 204) return null;
  const value = await answer.json().catch(() => ({ error: `status ${answer.status}` }));
  if (!answer.ok) { tell(value.error); throw new Error(value.error); }
  return value;
}
export const post = (address, value) => ask(address, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value) });

// ---------------------------------------------------------------- recipes: TERMS@PSI!EDIT:AMOUNT,...

export const state = { about: null, psi: 0.7, picked: [], kept: new Map() };

export function split(recipe) {
  const [head, tail = ""] = recipe.split("!"), [terms, psi = "0.7"] = head.split("@");
  const edits = new Map(tail ? tail.split(",").map((part) => { const at = part.lastIndexOf(":"); return [part.slice(0, at), +part.slice(at + 1)]; }) : []);
  return { terms, psi: +psi, edits };
}
export function join({ terms, psi, edits }) {
  const moved = [...edits].filter(([, amount]) => amount).map(([name, amount]) => `${name}:${amount}`).sort();
  return `${terms}@${psi}${moved.length ? "!" + moved.join(",") : ""}`;
}
export const isSeed = (recipe) => /^\d+$/.test(split(recipe).terms);
export function titleOf(recipe) {
  const { terms } = split(recipe), kept = state.kept.get(recipe);
  if (kept?.name) return kept.name;
  if (/^\d+$/.test(terms)) return `Nobody, number ${terms}`;
  return /^p[0-9a-f]{16}$/.test(terms) ? "Found in a picture" : "A child of theirs";
}

/** Text of a query that keeps a recipe legible in the address bar. */
export const query = (entries) => "?" + entries.map(([name, value]) => `${name}=${encodeURIComponent(value).replace(/%(3A|2C|3B|40|21)/g, decodeURIComponent)}`).join("&");

export function pictureOf(recipes, { size, at, download } = {}) {
  const entries = [recipes].flat().map((recipe) => ["r", recipe]);
  if (at !== undefined) entries.push(["at", at]);
  if (size && size < state.about.model.resolution) entries.push(["size", size]);
  if (download) entries.push(["download", 1]);
  else entries.push(["m", state.about.model.digest]);
  return "/face.png" + query(entries);
}

// ---------------------------------------------------------------- pictures

/** Shows pictures in `img` as they come, always the last one asked for, one request at a time: live while a slider moves. */
export function shower(img) {
  let wanted = null, busy = false;
  return function show(address) {
    wanted = address;
    if (busy) return;
    busy = true;
    (async () => {
      for (let failures = 0; wanted !== null;) {
        const next = wanted;
        const loader = new Image();
        loader.src = next;
        try { await loader.decode(); img.src = next; failures = 0; } catch {
          if (++failures > 4) break;
          await new Promise((done) => setTimeout(done, 700 * failures));
          continue;
        }
        if (wanted === next) wanted = null;
      }
      busy = false;
    })();
  };
}

/** An image that fades in, and asks again when the studio was busy. */
export function face(recipe, size, alt) {
  const img = make("img", { alt, decoding: "async", loading: "lazy", draggable: "false" });
  let tries = 0;
  img.addEventListener("load", () => img.classList.add("here"));
  img.addEventListener("error", () => { if (++tries < 6) setTimeout(() => { img.src = pictureOf(recipe, { size }) + `&try=${tries}`; }, 1000 * tries); });
  img.src = pictureOf(recipe, { size });
  return img;
}

/** How large a tile's picture should be asked for. */
export const tileSize = () => [128, 256, 384].find((size) => size >= 150 * Math.min(devicePixelRatio, 2)) ?? 384;

// ---------------------------------------------------------------- messages

function toast(...children) {
  const box = make("div", { class: "toast" }, ...children), place = $("toasts");
  place.append(box);
  if (place.matches(":popover-open")) place.hidePopover();
  place.showPopover();
  box.leave = () => { box.remove(); if (!place.children.length && place.matches(":popover-open")) place.hidePopover(); };
  return box;
}

export function tell(text) {
  for (const old of $("toasts").querySelectorAll("p")) if (old.textContent === text) return;
  const box = toast(make("p", {}, text));
  setTimeout(box.leave, 4500);
}

/** Watches a job until it ends; resolves to it when it is done, to null when it was stopped or failed. */
export async function watch(job, title) {
  const note = make("small"), bar = make("i"), stop = make("button", { class: "bare", title: "Stop it" }, "Stop");
  const box = toast(make("p", {}, title), stop, make("div", { class: "progress" }, bar), note);
  stop.addEventListener("click", () => ask(`/api/jobs/${job.id}`, { method: "DELETE" }).catch(() => {}));
  try {
    while (job.state === "waiting" || job.state === "running") {
      note.textContent = job.state === "waiting" ? "waits for others" : job.note;
      bar.style.width = `${100 * job.progress}%`;
      await new Promise((done) => setTimeout(done, 400));
      job = await ask(`/api/jobs/${job.id}`);
    }
  } catch { job = { state: "gone" }; }
  box.leave();
  if (job.state === "failed") tell(job.note);
  return job.state === "done" ? job : null;
}

/** A message with a link in it. */
export function offer(text, label, address) {
  const box = toast(make("p", {}, text), make("a", { class: "button strong", href: address, download: "", onclick: () => setTimeout(() => box.leave(), 300) }, label),
    make("button", { class: "bare quiet", onclick: () => box.leave() }, "Dismiss"));
}
