// The microphone, as a file.

// What each container's files are called. The first that the browser records is taken.
const KINDS = { "audio/webm;codecs=opus": "webm", "audio/ogg;codecs=opus": "ogg", "audio/mp4": "m4a" };

export class Recorder {
  // Starts to record. onLost: called if the microphone goes away; what was heard can still be had.
  // Throws an Error whose message is for people.
  static async started(onLost) {
    if (!navigator.mediaDevices || !window.MediaRecorder) {
      throw new Error("Browsers record only on https and on localhost; choose a file instead");
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      throw new Error(reasons[error.name] ?? `The microphone cannot be used (${error.message}); choose a file instead`);
    }
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
    for (const track of this.stream.getTracks()) track.stop();
    const now = new Date();
    const two = (number) => String(number).padStart(2, "0");
    const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
    const time = [now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join("");
    return new File(this.parts, `recording-${day}-${time}.${this.ending}`, { type: this.recorder.mimeType });
  }
}

const reasons = {
  NotAllowedError: "The microphone is not allowed: allow it beside the address of this page, or choose a file",
  NotFoundError: "There is no microphone: plug one in, or choose a file",
  NotReadableError: "Another program uses the microphone: end it, or choose a file",
};
