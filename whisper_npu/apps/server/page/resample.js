// Sound at another rate, piece by piece: each sample is a sum of those around it, weighted by a windowed sinc.

const ZEROS = 12; // of the sinc, on each side
const ROLL_OFF = 0.92; // where the filter begins to close, of the lower rate's half

export class Resampler {
  // Rates in samples per second.
  constructor(from, to) {
    this.step = from / to;
    this.cut = Math.min(1, 1 / this.step) * ROLL_OFF;
    this.reach = Math.ceil(ZEROS / this.cut); // samples on each side
    this.kept = new Float32Array(this.reach); // what the next samples still need; silence at the start
    this.at = this.reach; // where in `kept` the next sample lies
    this.weights = new Map(); // by where it lies between two samples
  }

  // What comes out when these samples go in.
  push(samples) {
    if (this.step === 1) return samples;
    const all = new Float32Array(this.kept.length + samples.length);
    all.set(this.kept);
    all.set(samples, this.kept.length);
    const out = [];
    for (; this.at + this.reach + 1 < all.length; this.at += this.step) {
      const first = Math.floor(this.at) - this.reach;
      const weights = this.weightsAt(this.at % 1);
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * all[first + i];
      out.push(sum);
    }
    const done = Math.floor(this.at) - this.reach;
    this.kept = all.slice(done);
    this.at -= done;
    return Float32Array.from(out);
  }

  weightsAt(fraction) {
    const key = Math.round(fraction * 1000); // 60 dB is more than a microphone has
    let weights = this.weights.get(key);
    if (!weights) {
      const offset = this.reach + key / 1000;
      weights = Float32Array.from({ length: 2 * this.reach + 2 }, (_, i) => this.weight(i - offset));
      this.weights.set(key, weights);
    }
    return weights;
  }

  // distance: in samples that go in
  weight(distance) {
    const x = Math.PI * this.cut * distance;
    const place = distance / (this.reach + 1); // within the window
    if (Math.abs(place) >= 1) return 0;
    return (this.cut * (x ? Math.sin(x) / x : 1) * (1 + Math.cos(Math.PI * place))) / 2;
  }
}
