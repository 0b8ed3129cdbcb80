// The microphone, as a file.

import { letGo, microphone, nameNow } from "./microphone.js";

// What each container's files are called. The first that the browser records is taken.
const KINDS = { "audio/webm;codecs=opus": "webm", "audio/ogg;codecs=opus": "ogg", "audio/mp4": "m4a" };

export class Recorder {
  // Starts to record. onLost: called if the microphone goes away; what was heard can still be had.
  // Throws an Error whose message is for people.
  static async started(onLost) {
    if (!window.MediaRecorder) throw new Error("This browser does not record; choose a file instead");
    const stream = await microphone();
    return new Recorder(stream, onLost);
  }

  constructor(stream, onLost) {
    const type = Object.keys(KINDS).find((kind) => MediaRecorder.isTypeSupported(kind));
    this.stream = stream;
    this.ending = KINDS[type] ?? "webm";
    this.parts = [];
    this.asked = false; // to stop
    this.began = performance.now();
    this.recorder = new MediaRecorder(stream, type ? { mimeType: type } : {});
    this.recorder.addEventListener("dataavailable", (event) => this.parts.push(event.data));
    this.ended = new Promise((resolve) => this.recorder.addEventListener("stop", resolve, { once: true }));
    this.ended.then(() => this.asked || onLost());
    for (const track of stream.getTracks()) track.addEventListener("ended", () => this.end());
    this.recorder.addEventListener("error", () => this.end());
    this.recorder.start();
  }

  get seconds() {
    return (performance.now() - this.began) / 1000;
  }

  end() {
    if (this.recorder.state !== "inactive") this.recorder.stop();
  }

  // Ends the recording, lets the microphone go, and returns the file.
  async stopped() {
    this.asked = true;
    this.end();
    await this.ended;
    letGo(this.stream);
    return new File(this.parts, nameNow("recording", this.ending), { type: this.recorder.mimeType });
  }
}
