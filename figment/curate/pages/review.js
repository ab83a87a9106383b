"use strict";
// The review page: lists of heads, groups of duplicates, and boxes on pictures. Keys are in the help dialog.

const $ = (id) => document.getElementById(id);
const TABS = [["borderline", "Borderline"], ["duplicates", "Duplicates"], ["unsure", "Unsure"], ["rejected", "Rejected"],
              ["kept", "Kept"], ["yours", "Decided by you"], ["all", "All"]];
const WORDS = { unwanted: "unwanted", "not-a-head": "no head" };
let S = { tab: "", reason: "", items: [], at: -1, cursors: [""], next: null, groups: [], state: null };

// ---------------------------------------------------------------- asking the server

async function ask(path, body) {
  const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  let reply, value;
  try { reply = await fetch(path, options); value = await reply.json(); }
  catch { throw new Error("No answer: is figment review still running?"); }
  if (!reply.ok) throw new Error(value.error || reply.statusText);
  return value;
}

let chain = Promise.resolve();
const inTurn = (work) => (chain = chain.then(work).catch((error) => toast(error.message)));    // one write after another

let toastTimer;
function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("on");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => $("toast").classList.remove("on"), 4200);
}

function make(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}
const number = (n) => Number(n).toLocaleString("en");
const figure = (x) => (Number.isInteger(x) ? String(x) : Number(x.toPrecision(3)).toString());

// ---------------------------------------------------------------- what stands above the list

function showState(part) {
  S.state = { ...S.state, ...part };
  const { counts, model, pictures } = S.state;
  $("name").textContent = S.state.name;
  if (counts) {
    const mine = counts.by.person || 0;
    $("bar").style.width = `${(100 * mine) / Math.max(1, counts.total)}%`;
    $("decided").textContent = `${number(mine)} of ${number(counts.total)} decided`;
  } else {
    $("bar").style.width = `${(100 * pictures.done) / Math.max(1, pictures.all)}%`;
    $("decided").textContent = `${number(pictures.done)} of ${number(pictures.all)} boxed`;
  }

  const tabs = counts ? TABS.filter(([id]) => id !== "unsure" || model.lesson).map(([id, label]) => tab(id, label, counts.filters[id])) : [];
  if (pictures) tabs.push(tab("boxes", "Boxes", pictures.todo));
  if (counts && S.tab === "rejected") {
    tabs.push(make("div", { className: "break" }));
    for (const [reason, n] of Object.entries(counts.reasons)) tabs.push(tab("rejected", reason, n, reason));
  }
  $("filters").replaceChildren(...tabs);
  if (counts) showModel(model);
  if (S.tab === "boxes") $("model").hidden = true;
}

function tab(id, label, count, reason = "") {
  const on = S.tab === id && (reason ? S.reason === reason : true);
  const button = make("button", { className: `${on ? "on" : ""} ${reason ? "sub" : ""}` }, label, make("small", {}, number(count)));
  button.dataset.tab = reason || id;
  button.onclick = () => open(id, reason === S.reason ? "" : reason);
  return button;
}

function showModel(model) {
  const { labels, heads, lesson } = model;
  const percent = lesson && Math.round(100 * lesson.right);
  $("model").hidden = false;
  if (!model.usable) $("model").textContent = "No embeddings in this catalog, so no classifier can learn from your labels; the order goes by the figures alone.";
  else if (model.learning) $("model").textContent = "The classifier is learning from your labels…";
  else if (lesson) $("model").textContent = `The classifier learned from ${lesson.labels} labels: ${percent}% right on labels it had not seen. `
    + (lesson.trusted ? `It changed ${number(lesson.judged)} verdicts; the least sure come first.` : "Not sure enough to judge; it only puts the doubtful ones first.");
  else $("model").textContent = `${labels} of ${model.enough} labels (${heads} heads, ${labels - heads} non-heads): `
    + (labels < model.enough ? "then a classifier learns from them and re-orders the rest." : `it wants at least ${model.each} of each kind.`);
}

async function followLearning() {
  for (let wait = 300; S.state.model.learning; wait = Math.min(wait * 1.5, 3000)) {
    await new Promise((done) => setTimeout(done, wait));
    showState(await ask("/api/state"));
  }
  const { lesson } = S.state.model;
  if (!lesson) return;
  toast(`Learned from ${lesson.labels} labels; what is left is re-ordered.`);
  if (S.tab !== "boxes" && S.tab !== "duplicates") { S.cursors = [""]; await load(); }
}

// ---------------------------------------------------------------- lists of heads

async function open(id, reason = "") {
  await leaveBoxes();
  Object.assign(S, { tab: id, reason, cursors: [""] });
  location.hash = reason ? `${id}/${reason}` : id;
  $("desk").hidden = id === "boxes";
  $("boxes").hidden = id !== "boxes";
  document.body.classList.toggle("drawing", id === "boxes");
  showState({});
  await (id === "boxes" ? loadPictures() : load());
}

let asked = 0;
async function load() {
  const mine = ++asked, after = S.cursors.at(-1);
  const query = S.tab === "duplicates" ? `/api/groups?after=${after}`
    : `/api/heads?filter=${S.tab}&reason=${encodeURIComponent(S.reason)}&after=${after}`;
  let found;
  try { found = await ask(query); } catch (error) { toast(error.message); return; }
  if (mine !== asked) return;    // another list was opened meanwhile
  S.groups = found.groups || [];
  S.items = found.groups ? found.groups.flatMap((group) => group.items) : found.items;
  S.next = found.next === null ? null : [].concat(found.next).join(",");
  const tiles = S.items.map(tile);
  $("list").classList.toggle("groups", S.groups.length > 0);
  if (!tiles.length) $("list").replaceChildren(make("p", { className: "empty" }, "Nothing here. Every other list is above."));
  else if (S.groups.length) {
    let k = 0;
    $("list").replaceChildren(...S.groups.map((group) => {
      const shown = tiles.slice(k, (k += group.items.length));
      const rest = group.count > shown.length ? `, ${shown.length} of them shown` : "";
      return make("section", { className: "bunch" }, make("p", {}, `${number(group.count)} that look the same${rest}; the best first`), make("div", {}, ...shown));
    }));
  } else $("list").replaceChildren(...tiles);
  pages(S.cursors.length, S.next !== null);
  select(tiles.length ? Math.max(0, S.items.findIndex((item) => item.by !== "person")) : -1);
}

function pages(page, more) {
  $("back").disabled = page < 2;
  $("more").disabled = !more;
  $("place").textContent = `page ${number(page)}`;
}

function turn(step) {
  if (step > 0 && S.next === null) return;
  if (step < 0 && S.cursors.length < 2) return;
  if (step > 0) S.cursors.push(S.next); else S.cursors.pop();
  scrollTo(0, 0);
  return S.tab === "boxes" ? loadPictures() : load();
}

function caption(item) {
  if (item.verdict === "reject") return WORDS[item.reason] || item.reason;
  return item.verdict === "keep" ? "" : "not judged yet";
}

function tile(item, index) {
  const button = make("button", { className: "tile", title: item.file },
    make("img", { src: `/thumb?id=${item.id}&v=${item.stamp}`, alt: "", loading: "lazy", decoding: "async" }), make("span"), make("i"));
  button.dataset.id = item.id;
  button.onclick = () => select(index);
  paint(button, item);
  return button;
}

function paint(button, item) {
  button.classList.toggle("reject", item.verdict === "reject");
  button.classList.toggle("person", item.by === "person");
  button.querySelector("span").textContent = caption(item);
  button.querySelector("span").hidden = !caption(item);
  button.querySelector("i").textContent = item.verdict === "keep" ? "✓" : "×";
}

const tiles = () => [...$("list").querySelectorAll(".tile")];

let selected = 0;
async function select(index) {
  S.at = index;
  tiles().forEach((each, k) => each.classList.toggle("on", k === index));
  const item = S.items[index], mine = ++selected;
  for (const id of ["keep", "reject", "nohead"]) $(id).disabled = !item;
  $("source").hidden = !item || !S.state.pictures;
  for (const id of ["only", "every"]) $(id).hidden = !item || !S.groups.length;
  $("big").hidden = !item;
  if (!item) { $("file").textContent = $("verdict").textContent = ""; $("figures").replaceChildren(); return; }
  tiles()[index].scrollIntoView({ block: "nearest" });
  $("big").src = `/crop?id=${item.id}&v=${item.stamp}`;
  tell(item);
  $("figures").replaceChildren();
  const full = await ask(`/api/head?id=${item.id}`).catch(() => null);
  if (!full || mine !== selected) return;
  const rows = full.figures.map((f) => [f.name, figure(f.value), (f.most ? f.value > f.limit : f.value < f.limit) ? "low" : "", `at ${f.most ? "most" : "least"} ${figure(f.limit)}`]);
  if (full.p !== null) rows.push(["classifier", `${Math.round(100 * full.p)}% a head`, "", ""]);
  $("figures").replaceChildren(...rows.flatMap(([name, value, kind, limit]) =>
    [make("dt", {}, name), make("dd", { className: kind }, value, " ", make("small", {}, limit))]));
}

function tell(item) {
  $("file").textContent = item.picture;
  const who = { rule: "by a rule", model: "by the classifier", person: "by you" }[item.by] || "";
  const word = { keep: "kept", reject: "rejected" }[item.verdict] || "not judged yet";
  const why = [item.verdict === "reject" ? WORDS[item.reason] || item.reason : "", item.detail].filter(Boolean).join(": ");
  $("verdict").replaceChildren(make("b", { className: item.verdict }, word), ` ${who}${why ? ` (${why})` : ""}${item.by === "person" ? `, ${new Date(`${item.at.replace(" ", "T")}Z`).toLocaleString()}` : ""}`);
}

function renew(items) {
  for (const item of items) {
    const index = S.items.findIndex((each) => each.id === item.id);
    if (index < 0) continue;
    S.items[index] = item;
    paint(tiles()[index], item);
    if (index === S.at) tell(item);
  }
}

// ---------------------------------------------------------------- decisions

function decide(decisions) {
  if (!decisions.length) return;
  const done = new Set(decisions.map((each) => each.id));
  inTurn(async () => {
    const reply = await ask("/api/decide", { decisions });
    renew(reply.items);
    const follow = reply.model.learning && !S.state.model.learning;
    showState(reply);
    if (follow) followLearning();
  });
  // On to the next head that is left on this page, or to the next page.
  const next = S.items.findIndex((item, k) => k > S.at && item.by !== "person" && !done.has(item.id));
  if (next >= 0) select(next);
  else if (S.at + 1 < S.items.length) select(S.at + 1);
  else if (S.next !== null) inTurn(() => turn(1));
}

const here = () => S.items[S.at];
const word = (verdict, reason = "") => here() && decide([{ id: here().id, verdict, reason }]);
const group = () => S.groups.find((each) => each.items.some((item) => item.id === here()?.id));

function onlyThis() {
  const best = here(), all = group();
  if (!all) return;
  if (all.count > all.items.length) { toast("This group is too large to decide at once: its rest is not shown."); return; }
  decide(all.items.map((item) => (item.id === best.id ? { id: item.id, verdict: "keep" }
    : { id: item.id, verdict: "reject", reason: "duplicate", of: best.file })));
}

const keepAll = () => group() && decide(group().items.map((item) => ({ id: item.id, verdict: "keep" })));

function undo() {
  inTurn(async () => {
    const reply = await ask("/api/undo", {});
    if (!reply.items.length) { toast("Nothing to undo."); return; }
    renew(reply.items);
    showState(reply);
    const index = S.items.findIndex((item) => item.id === reply.items.at(-1).id);
    if (index >= 0) select(index); else toast(`Undone: ${reply.items[0].file}`);
  });
}

// ---------------------------------------------------------------- boxes

const SVG = "http://www.w3.org/2000/svg";
let B = { names: [], at: -1, boxes: [], on: -1, past: [], changed: false, picture: null };

async function loadPictures(name) {
  const after = S.cursors.at(-1);
  const found = await ask(`/api/pictures?after=${encodeURIComponent(after)}`).catch((error) => { toast(error.message); return null; });
  if (!found) return;
  B.names = found.items;
  S.next = found.next;
  showState({ pictures: found.counts });
  $("names").replaceChildren(...B.names.map((item, index) => {
    const note = `${item.boxes} ${item.boxes === 1 ? "box" : "boxes"}${item.saved ? ", saved" : ""}`;
    const button = make("button", { title: item.name }, make("img", { src: `/picture?small=1&name=${encodeURIComponent(item.name)}`, alt: "", loading: "lazy" }),
      make("span", {}, item.name, make("small", {}, note)));
    button.onclick = () => inTurn(() => show(index));
    return button;
  }));
  pages(S.cursors.length, S.next !== null);
  const todo = B.names.findIndex((item) => (name ? item.name === name : !item.saved));
  await show(Math.max(0, todo));
}

async function show(index) {
  if (index < 0 || index >= B.names.length) return;
  await leaveBoxes();
  const { name } = B.names[index];
  $("names").querySelectorAll("button").forEach((each, k) => each.classList.toggle("on", k === index));
  $("names").children[index].scrollIntoView({ block: "nearest", inline: "nearest" });
  Object.assign(B, { at: index, boxes: [], on: -1, past: [], changed: false, picture: null });
  $("stage").replaceChildren();
  $("picture").textContent = name;
  const picture = await ask(`/api/picture?name=${encodeURIComponent(name)}`).catch((error) => { toast(error.message); return null; });
  if (!picture || B.at !== index) return;
  B.picture = picture;
  B.boxes = picture.boxes.map((box) => [...box]);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${picture.width} ${picture.height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.addEventListener("pointerdown", grab);
  $("stage").append(make("img", { src: `/picture?name=${encodeURIComponent(name)}`, alt: name, draggable: false, fetchPriority: "high" }), svg);
  draw();
}

function draw() {
  const svg = $("stage").querySelector("svg");
  if (!svg) return;
  const handle = (9 * B.picture.width) / Math.max(1, svg.clientWidth || 800);
  const node = (tag, values) => {
    const made = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(values)) made.setAttribute(key, value);
    return made;
  };
  svg.replaceChildren(...B.boxes.flatMap((box, index) => {
    const [x0, y0, x1, y1] = [Math.min(box[0], box[2]), Math.min(box[1], box[3]), Math.max(box[0], box[2]), Math.max(box[1], box[3])];
    const shapes = [node("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, "data-box": index, class: index === B.on ? "on" : "" })];
    if (index === B.on) for (const [cx, cy, kind] of [[0, 1, "nwse"], [2, 1, "nesw"], [0, 3, "nesw"], [2, 3, "nwse"]])
      shapes.push(node("circle", { cx: box[cx], cy: box[cy], r: handle * 0.8, "data-box": index, "data-x": cx, "data-y": cy, class: kind }));
    return shapes;
  }));
  const { saved } = B.names[B.at];
  const where = B.changed ? "not saved yet" : saved ? "saved" : B.picture.source === "found" ? "found by the detector, not saved yet" : "no boxes yet: draw them with the mouse";
  $("picture").textContent = `${B.picture.name} · ${B.boxes.length} ${B.boxes.length === 1 ? "box" : "boxes"}, ${where}`;
}

function grab(event) {
  if (event.button > 0) return;
  event.preventDefault();
  const svg = event.currentTarget, { width, height } = B.picture;
  const point = (e) => {
    const frame = svg.getBoundingClientRect();
    return [Math.min(width, Math.max(0, ((e.clientX - frame.left) / frame.width) * width)),
            Math.min(height, Math.max(0, ((e.clientY - frame.top) / frame.height) * height))];
  };
  const [x, y] = point(event), { box, x: cx, y: cy } = event.target.dataset;
  const before = B.boxes.map((each) => [...each]), least = (5 * width) / svg.clientWidth;
  let index = box === undefined ? B.boxes.push([x, y, x, y]) - 1 : Number(box);
  const start = [...B.boxes[index]];
  B.on = index;
  draw();
  const move = (e) => {
    const [px, py] = point(e), now = B.boxes[index];
    if (box === undefined) [now[2], now[3]] = [px, py];
    else if (cx !== undefined) [now[cx], now[cy]] = [px, py];
    else {
      const dx = Math.min(width - start[2], Math.max(-start[0], px - x)), dy = Math.min(height - start[3], Math.max(-start[1], py - y));
      B.boxes[index] = [start[0] + dx, start[1] + dy, start[2] + dx, start[3] + dy];
    }
    draw();
  };
  const drop = () => {
    removeEventListener("pointermove", move);
    removeEventListener("pointerup", drop);
    removeEventListener("pointercancel", drop);
    const [x0, y0, x1, y1] = B.boxes[index];
    B.boxes[index] = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
    if (Math.abs(x1 - x0) < least || Math.abs(y1 - y0) < least) { B.boxes = before; B.on = -1; }    // a click, or a slip
    else if (JSON.stringify(before) !== JSON.stringify(B.boxes)) { B.past.push(before); B.changed = true; }
    draw();
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", drop);
  addEventListener("pointercancel", drop);
}

function removeBox() {
  if (B.on < 0) return;
  B.past.push(B.boxes.map((each) => [...each]));
  B.boxes.splice(B.on, 1);
  Object.assign(B, { on: -1, changed: true });
  draw();
}

function undoBox() {
  if (!B.past.length) return;
  Object.assign(B, { boxes: B.past.pop(), on: -1, changed: true });
  draw();
}

async function saveBoxes() {
  const item = B.names[B.at];
  if (!B.picture || !item) return;
  const reply = await ask("/api/boxes", { name: B.picture.name, boxes: B.boxes });
  Object.assign(item, { saved: true, boxes: reply.boxes.length });
  B.changed = false;
  $("names").children[B.at].querySelector("small").textContent = `${item.boxes} ${item.boxes === 1 ? "box" : "boxes"}, saved`;
  showState({ pictures: reply.counts });
  draw();
}

async function leaveBoxes() {
  if (S.tab === "boxes" && B.changed) await saveBoxes().catch((error) => toast(error.message));
}

const saveAndNext = () => inTurn(async () => {
  await saveBoxes();
  if (B.at + 1 < B.names.length) await show(B.at + 1); else if (S.next !== null) await turn(1); else toast("That was the last picture.");
});

async function toSource() {
  const item = here();
  if (!item || !S.state.pictures) return;
  await open("boxes");
  if (B.names.some((each) => each.name === item.picture)) await show(B.names.findIndex((each) => each.name === item.picture));
  else { const { picture } = item; B.names = [{ name: picture, saved: false, boxes: 0 }]; S.cursors = ["", picture.slice(0, -1)]; await loadPictures(picture); }
}

// ---------------------------------------------------------------- keys and buttons

function across() {
  const all = tiles(), top = all[S.at]?.offsetTop;
  return Math.max(1, all.filter((each) => each.offsetTop === top).length);
}

const step = (by) => S.items.length && select(Math.min(S.items.length - 1, Math.max(0, S.at + by)));
const HEADS = {
  k: () => word("keep"), r: () => word("reject", "unwanted"), n: () => word("reject", "not-a-head"), u: undo, o: onlyThis, a: keepAll,
  b: toSource, arrowright: () => step(1), arrowleft: () => step(-1), arrowdown: () => step(across()), arrowup: () => step(-across()),
};
const DRAW = { delete: removeBox, backspace: removeBox, u: undoBox, enter: saveAndNext, escape: () => { B.on = -1; draw(); },
  arrowright: () => inTurn(() => show(B.at + 1)), arrowleft: () => inTurn(() => show(B.at - 1)) };
const BOTH = { "?": () => $("help").showModal(), "]": () => turn(1), "[": () => turn(-1) };

addEventListener("keydown", (event) => {
  if ($("help").open || event.altKey || event.metaKey || (event.ctrlKey && event.key !== "z")) return;
  const key = event.ctrlKey ? "u" : event.key.toLowerCase();
  const act = (S.tab === "boxes" ? DRAW : HEADS)[key] || BOTH[key];
  if (!act) return;
  event.preventDefault();
  act();
});

for (const [id, act] of Object.entries({ keep: HEADS.k, reject: HEADS.r, nohead: HEADS.n, undo, only: onlyThis, every: keepAll, source: toSource,
  "box-remove": removeBox, "box-undo": undoBox, "box-save": saveAndNext, "help-open": BOTH["?"], back: BOTH["["], more: BOTH["]"] }))
  $(id).addEventListener("click", (event) => { act(); event.currentTarget.blur(); });
addEventListener("resize", () => S.tab === "boxes" && draw());
addEventListener("beforeunload", (event) => { if (B.changed) event.preventDefault(); });

(async () => {
  try { showState(await ask("/api/state")); } catch (error) { toast(error.message); return; }
  const [id, reason] = decodeURIComponent(location.hash.slice(1)).split("/");
  const known = [...(S.state.counts ? TABS.map(([each]) => each) : []), ...(S.state.pictures ? ["boxes"] : [])];
  const first = S.state.counts ? ["borderline", "duplicates", "all"].find((each) => each === "all" || S.state.counts.filters[each]) : "boxes";
  await open(known.includes(id) ? id : first, known.includes(id) ? reason || "" : "");
  if (S.state.model.learning) followLearning();
})();
