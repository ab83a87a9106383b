// A seed's latent as numpy.random.RandomState(seed).randn(n) draws it: MT19937 (Matsumoto & Nishimura 1998) and the
// polar method (Marsaglia & Bray 1964), which numpy's legacy generator gives out second number first.
"use strict";

function seedToZ(seed, size) {
  // The state from the seed (the algorithm's initialisation of 2002).
  const state = new Uint32Array(624);
  state[0] = seed >>> 0;
  for (let i = 1; i < 624; i++) {
    const before = state[i - 1] ^ (state[i - 1] >>> 30);
    state[i] = Math.imul(1812433253, before) + i;
  }

  let place = 624;
  function word() {
    if (place === 624) {
      for (let i = 0; i < 624; i++) {
        const pair = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
        state[i] = state[(i + 397) % 624] ^ (pair >>> 1) ^ (pair & 1 ? 0x9908b0df : 0);
      }
      place = 0;
    }
    let y = state[place++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  // 53 bits of two words, in [0, 1).
  function uniform() {
    const high = word() >>> 5;
    return (high * 67108864 + (word() >>> 6)) / 9007199254740992;
  }

  const z = new Float32Array(size);
  for (let i = 0; i < size; i += 2) {
    let x, y, square;
    do {
      x = 2 * uniform() - 1;
      y = 2 * uniform() - 1;
      square = x * x + y * y;
    } while (square >= 1 || square === 0);
    const scale = Math.sqrt((-2 * Math.log(square)) / square);
    z[i] = scale * y;
    if (i + 1 < size) z[i + 1] = scale * x;
  }
  return z;
}

if (typeof module !== "undefined") module.exports = { seedToZ };
