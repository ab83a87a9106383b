// Draws characters off the page's own thread: onnxruntime-web on one thread, since plain hosts send no isolation headers.
"use strict";
importScripts("gallery-seed.js", "runtime/ort.wasm.min.js");

let facts, mapping, synthesis;
const latents = new Map(); // "seed@psi" to w

async function load(message) {
  facts = message.facts;
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("runtime/", self.location.href).href;
  const total = facts.bytes;
  let loaded = 0;
  const tell = (more) => self.postMessage({ kind: "progress", share: (loaded += more) / total });
  const parts = await Promise.all(["mapping", "synthesis"].map((part) => fetchBytes(`net.${part}.onnx`, tell)));
  [mapping, synthesis] = await Promise.all(parts.map((data) => ort.InferenceSession.create(data)));
}

async function fetchBytes(name, tell) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: the host answered ${answer.status}`);
  const chunks = [];
  const reader = answer.body.getReader();
  for (let step = await reader.read(); !step.done; step = await reader.read()) {
    chunks.push(step.value);
    tell(step.value.length);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

async function seedToW(seed, psi) {
  const key = `${seed}@${psi}`;
  if (!latents.has(key)) {
    const feed = {
      z: new ort.Tensor("float32", seedToZ(seed, facts.z_dim), [1, facts.z_dim]),
      psi: new ort.Tensor("float32", Float32Array.of(psi), []),
    };
    if (facts.c_dim) feed.c = new ort.Tensor("float32", new Float32Array(facts.c_dim), [1, facts.c_dim]);
    if (latents.size > 500) latents.clear();
    latents.set(key, (await mapping.run(feed)).w);
  }
  return latents.get(key);
}

// A character, or one on the way from `seed` to `to`, as RGBA bytes.
async function draw({ seed, psi, to, at }) {
  let w = await seedToW(seed, psi);
  if (to !== undefined && at > 0) {
    const goal = (await seedToW(to, psi)).data;
    w = new ort.Tensor("float32", w.data.map((value, i) => value + at * (goal[i] - value)), w.dims);
  }
  const { rgb } = await synthesis.run({ w });
  const [, channels, height, width] = rgb.dims;
  const area = height * width;
  const pixels = new Uint8ClampedArray(area * 4).fill(255);
  for (let channel = 0; channel < 4; channel++) {
    if (channel === 3 && channels < 4) break;
    const from = (channels === 1 ? 0 : channel) * area;
    for (let i = 0; i < area; i++) {
      // Rounded as figment rounds: x * 127.5 + 128, cut off.
      pixels[4 * i + channel] = Math.floor(Math.min(Math.max(rgb.data[from + i] * 127.5 + 128, 0), 255));
    }
  }
  return { pixels, width, height };
}

// One request at a time: a session can't be entered twice.
let queue = Promise.resolve();
self.onmessage = ({ data }) => {
  queue = queue.then(async () => {
    try {
      if (data.kind === "load") {
        await load(data);
        self.postMessage({ kind: "ready" });
      } else {
        const picture = await draw(data);
        self.postMessage({ kind: "picture", id: data.id, ...picture }, [picture.pixels.buffer]);
      }
    } catch (error) {
      self.postMessage({ kind: "error", id: data.id, text: String(error.message || error) });
    }
  });
};
