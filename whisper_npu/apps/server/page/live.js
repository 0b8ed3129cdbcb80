// Speaks live with the server: the microphone goes there, lines come back. docs/server.md describes what is said.

import { ServerError, UnreachableError } from "./client.js";
import { letGo, microphone, nameNow } from "./microphone.js";

const RATE = 16_000; // samples per second
const BYTES_PER_SECOND = 2 * RATE;

export class Live {
  // asked: how to transcribe, as client.js has it. key: the server's, if there is one.
  // on: line(message) for each partial and final one; gone() when the microphone is; ended(error or null, done message),
  //     neither of them where the rest was not waited for.
  // Returns when the server listens. Throws an Error whose message is for people; its `code` is the server's.
  static async started(asked, key, on) {
    if (!window.AudioWorkletNode) throw new Error("Browsers listen only on https and on localhost; choose a file instead");
    const stream = await microphone();
    const live = new Live(stream, on);
    try {
      await live.connected(asked, key);
      await live.listen();
    } catch (error) {
      live.socket?.close();
      live.close();
      throw error;
    }
    return live;
  }

  constructor(stream, on) {
    this.stream = stream;
    this.on = on;
    this.name = nameNow("live", "wav");
    this.parts = []; // of the sound, as it was sent
    this.bytes = 0;
    this.listens = false;
    this.ending = false;
    this.left = false; // before the end
    this.late = 0; // by how many seconds the last line came after what is said in it
    this.done = null; // the server's last message
    this.error = null; // the server's
    for (const track of stream.getTracks()) track.addEventListener("ended", () => this.listens && !this.ending && on.gone());
  }

  get seconds() {
    return this.bytes / BYTES_PER_SECOND;
  }

  connected(asked, key) {
    const address = new URL("v1/listen", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    const start = { type: "start", task: asked.task, word_timestamps: true };
    if (asked.language) start.language = asked.language;
    if (asked.prompt) start.initial_prompt = asked.prompt;
    if (asked.hotwords) start.hotwords = asked.hotwords;
    if (key) start.api_key = key;
    this.socket.addEventListener("open", () => this.socket.send(JSON.stringify(start)));
    return new Promise((resolve, reject) => {
      this.socket.addEventListener("message", ({ data }) => this.take(JSON.parse(data), resolve));
      this.socket.addEventListener("close", () => {
        const lost = this.listens ? "The connection to the server was lost" : "The server cannot be reached: is it still running?";
        const error = this.error ?? (this.done || this.left ? null : new UnreachableError(lost));
        reject(error); // no effect once it is ready
        this.close();
        if (this.listens) this.on.ended(error, this.done);
      });
    });
  }

  take(message, ready) {
    if (message.type === "ready") ready();
    else if (message.type === "done") this.done = message;
    else if (message.type === "error") this.error = Object.assign(new ServerError(message.message), { code: message.code });
    else {
      this.late = this.seconds - message.end;
      this.on.line(message);
    }
  }

  // From here on what is heard is sent.
  async listen() {
    const [context, source] = opened(this.stream);
    this.context = context;
    await context.audioWorklet.addModule(new URL("pcm.js", import.meta.url));
    this.worklet = new AudioWorkletNode(context, "pcm", { numberOfOutputs: 0 });
    this.worklet.port.onmessage = ({ data }) => this.heard(data);
    source.connect(this.worklet);
    await context.resume();
    if (this.socket.readyState !== WebSocket.OPEN) throw this.error ?? new UnreachableError("The connection to the server was lost");
    if (this.stream.getTracks().some(({ readyState }) => readyState === "ended")) throw new Error("The microphone is gone: plug it in, or choose a file");
    this.listens = true;
  }

  // sound: an ArrayBuffer; null: that was all
  heard(sound) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    if (sound === null) {
      this.socket.send(JSON.stringify({ type: "end" }));
      return;
    }
    this.parts.push(sound);
    this.bytes += sound.byteLength;
    this.socket.send(sound);
  }

  // Ends listening; `ended` is told once the server has said the rest.
  end() {
    this.ending = true;
    if (this.context.state === "running") this.worklet.port.postMessage("end");
    else this.heard(null);
    letGo(this.stream);
  }

  // Does not wait for the rest.
  leave() {
    this.left = true;
    this.socket.close();
  }

  close() {
    this.ending = true;
    letGo(this.stream);
    if (this.context && this.context.state !== "closed") this.context.close();
  }

  // What was heard, as a WAV file.
  file() {
    return new File([header(this.bytes), ...this.parts], this.name, { type: "audio/wav" });
  }
}

// At the rate that is sent, where the browser can do that, which resamples best; Firefox cannot of a microphone.
function opened(stream) {
  const context = new AudioContext({ sampleRate: RATE });
  try {
    return [context, context.createMediaStreamSource(stream)];
  } catch {
    context.close();
  }
  const own = new AudioContext();
  return [own, own.createMediaStreamSource(stream)];
}

// Of a WAV file with so many bytes of sound. http://soundfile.sapp.org/doc/WaveFormat
function header(bytes) {
  const view = new DataView(new ArrayBuffer(44));
  const text = (at, word) => [...word].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // mono
  view.setUint32(24, RATE, true);
  view.setUint32(28, BYTES_PER_SECOND, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, bytes, true);
  return view;
}
