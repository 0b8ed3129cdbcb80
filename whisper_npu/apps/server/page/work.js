// The work: what waits goes to the server, one recording after the other.

import { ServerError, transcribe, UnreachableError } from "./client.js";
import { size } from "./dom.js";
import { short } from "./player.js";
import { newResult } from "./recordings.js";
import { phraseOf } from "./transcript.js";

export class Work {
  // recordings: all of them. asked: how to transcribe, as client.js has it. key: the server's, if there is one.
  // page: show() and showSoon() what changed, say(text), renewed(recording): it has another text,
  //       askForKey(), ended(state of the last one).
  constructor(recordings, asked, key, page) {
    Object.assign(this, { recordings, asked, key, page });
    this.stop = null; // an AbortController, while there is work
  }

  get busy() {
    return Boolean(this.stop);
  }

  cancel() {
    this.stop?.abort();
  }

  async start() {
    if (this.busy) return;
    this.stop = new AbortController();
    let last;
    let goOn = true;
    for (let next; goOn && (next = this.recordings.find(({ state }) => state === "waiting")); last = next) {
      goOn = await this.run(next, this.stop.signal);
    }
    this.stop = null;
    if (!goOn) for (const left of this.recordings) if (left.state === "waiting") wait(left, "ready");
    this.page.ended(last);
  }

  // Whether the others can still be tried.
  async run(recording, signal) {
    const asked = this.asked();
    const next = newResult(asked.task);
    const sending = `Sending ${size(recording.file.size)}`;
    Object.assign(recording, { state: "working", step: sending, reason: "", progress: null, next });
    this.page.show();
    this.page.say(`${recording.name}: ${sending}`);
    try {
      for await (const event of this.events(recording, asked, signal)) this.take(recording, next, event);
      Object.assign(recording, { state: "done", step: "Done" });
      this.page.say(`${recording.name}: done`);
      return true;
    } catch (error) {
      return this.failed(recording, next, error);
    } finally {
      this.page.show();
    }
  }

  // As often as the server is busy, tried again when it said.
  async *events(recording, asked, signal) {
    for (;;) {
      try {
        yield* transcribe(recording.file, asked, { key: this.key(), signal });
        return;
      } catch (error) {
        if (error.status !== 429) throw error;
        this.page.say(`${recording.name}: the server is busy`);
        for (let left = error.retryAfter; left > 0; left--) {
          recording.step = `Server is busy, trying again in ${left} s`;
          this.page.show();
          await pause(1000, signal);
        }
      }
    }
  }

  take(recording, next, event) {
    if (event.type === "transcript.progress" && event.queue_position !== undefined) {
      recording.step = event.queue_position > 0 ? `Waiting, ${event.queue_position} ahead of you` : "Starting";
      this.page.say(`${recording.name}: ${recording.step}`);
    } else if (event.type === "transcript.progress") {
      const { seconds_done, duration, language, language_probability } = event;
      if (language) next.report = { language, language_probability, duration };
      this.progressed(recording, next, seconds_done);
    } else if (event.type === "transcript.text.delta" && event.segment) {
      const phrase = phraseOf(event.segment);
      next.phrases.push(phrase);
      this.renew(recording, next);
      recording.unsaved.add("text");
      this.progressed(recording, next, phrase.end);
    } else if (event.type === "transcript.text.done") {
      next.report = { ...next.report, ...event };
      next.whole = true;
      this.renew(recording, next);
    }
    this.page.showSoon();
  }

  // What was there before stays until there is something new.
  renew(recording, next) {
    if (recording.result === next) return;
    recording.result = next;
    recording.unsaved.delete("text");
    recording.unsaved.delete("edits");
    this.page.renewed(recording);
  }

  // So many seconds are transcribed. Heard of at every quarter: a screen reader has other things to say.
  progressed(recording, next, done) {
    const before = recording.progress?.seconds ?? 0;
    const duration = next.report.duration ?? 0;
    const seconds = Math.min(Math.max(before, done), duration);
    recording.progress = { seconds, duration };
    recording.step = `${short(seconds)} of ${short(duration)}`;
    const quarter = (at) => Math.floor((4 * at) / duration);
    if (quarter(seconds) > quarter(before)) this.page.say(`${recording.step} transcribed`);
  }

  failed(recording, next, error) {
    const reached = next.phrases.length ? ` after ${recording.step}` : "";
    if (error.name === "AbortError") {
      Object.assign(recording, { state: "stopped", step: `Cancelled${reached}` });
      this.page.say(`${recording.name}: cancelled`);
      return false;
    }
    if (error.status === 401) {
      wait(recording, "ready");
      this.page.askForKey();
      return false;
    }
    if (!(error instanceof ServerError)) console.error(error);
    const reason = error.message.replace(/^[a-z]+ /, (word) => word[0].toUpperCase() + word.slice(1));
    Object.assign(recording, { state: "failed", step: `Failed${reached}`, reason });
    this.page.say(`${recording.name}: failed. ${reason}`);
    return !(error instanceof UnreachableError); // the next one would have no answer either
  }
}

// Its turn comes ("waiting"), or comes when somebody says so ("ready").
export function wait(recording, state) {
  Object.assign(recording, { state, step: state === "ready" ? size(recording.file.size) : "Waiting", reason: "" });
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
