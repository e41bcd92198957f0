// Rates out of counters that are read about once a second.

const WINDOW_MS = 3500;

/** Remembers the last few samples of each counter. */
export class Rates {
  #samples = new Map();

  /** Takes a sample and returns the counter's rate per second, or null while there is only one. */
  sample(key, value, now) {
    let samples = this.#samples.get(key) ?? [];
    // A counter that fell belongs to a proxy that was started anew.
    if (samples.length > 0 && value < samples[samples.length - 1].value) samples = [];
    samples.push({ value, now });
    while (samples.length > 2 && now - samples[0].now > WINDOW_MS) samples.shift();
    this.#samples.set(key, samples);
    const first = samples[0];
    return now > first.now ? ((value - first.value) * 1000) / (now - first.now) : null;
  }

  /** Forgets the counters whose key is not among these. */
  keepOnly(keys) {
    for (const key of this.#samples.keys()) if (!keys.has(key)) this.#samples.delete(key);
  }

  /** Forgets everything, as after a lost connection. */
  clear() {
    this.#samples.clear();
  }
}
