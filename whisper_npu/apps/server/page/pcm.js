// In the audio thread: what the microphone hears, as the server takes it. 16 kHz, mono, 16 bits with a sign.

import { Resampler } from "./resample.js";

const RATE = 16_000;
const BLOCK = 1600; // samples in a message: 0.1 s

class Pcm extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, RATE);
    this.renew();
    this.ended = false;
    // Whatever is said means: this is all. What is left is sent, and then null.
    this.port.onmessage = () => {
      this.ended = true;
      this.send();
      this.port.postMessage(null);
    };
  }

  renew() {
    this.block = new Int16Array(BLOCK);
    this.length = 0;
  }

  process([channels]) {
    if (this.ended) return false;
    if (!channels.length) return true;
    const mono = channels[0].map((first, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
    for (const sample of this.resampler.push(mono)) {
      this.block[this.length++] = Math.round(32767 * Math.max(-1, Math.min(1, sample)));
      if (this.length === BLOCK) this.send();
    }
    return true;
  }

  send() {
    const { buffer } = this.block.slice(0, this.length);
    if (this.length) this.port.postMessage(buffer, [buffer]);
    this.renew();
  }
}

registerProcessor("pcm", Pcm);
