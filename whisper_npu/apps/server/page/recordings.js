// The recordings: what is known of each, and their list on the page.
//
// A recording: { file, name, made, state, step, reason, progress, result, next, unsaved }.
//   made      whether it was made here, with the microphone
//   state     "ready", "waiting" (its turn comes), "working", "done", "failed" or "stopped"; "listening": it is being
//             made, live, and has no file yet
//   step      what happens to it, as a line for people
//   reason    why it failed
//   progress  { seconds, duration } of the work; null: not known
//   result    { phrases, edits, report, whole, task }: its text.
//             edits: the places of the phrases that were edited, in order. whole: the server came to the end
//   next      the result of the last run, which takes the place of the one before once there is text
//   partial   what is being said right now, which may be revised; "" but while listening
//   unsaved   a Set of "recording", "text" and "edits": what would be lost with it

import { element, set, size } from "./dom.js";

export function newRecording(file, made) {
  return {
    file,
    name: file.name,
    made,
    state: "ready",
    step: size(file.size),
    reason: "",
    progress: null,
    result: newResult(""),
    next: null,
    partial: "",
    unsaved: new Set(made ? ["recording"] : []),
  };
}

export function newLive(name, task) {
  const recording = newRecording(new File([], name), true);
  recording.unsaved.clear(); // nothing is heard yet
  return Object.assign(recording, { state: "listening", step: "Listening", result: newResult(task) });
}

export function newResult(task) {
  return { phrases: [], edits: [], report: {}, whole: false, task };
}

// Of the text; a code.
export function languageOf({ task, report }) {
  return task === "translate" ? "en" : (report.language ?? "");
}

// Whether to go on, though `kinds` of what is unsaved would be lost.
export function mayLose(recording, kinds = ["recording", "text", "edits"]) {
  const lost = kinds.filter((kind) => recording.unsaved.has(kind));
  if (lost.includes("edits") && lost.includes("text")) lost.splice(lost.indexOf("text"), 1);
  if (!lost.length) return true;
  const are = lost.length > 1 || lost[0] === "edits" ? "are" : "is";
  return confirm(`The ${lost.join(" and ")} of ${recording.name} ${are} not saved. Discard?`);
}

export class List {
  // list: the element. on: what a person asks for of a recording: choose, again, keep, remove.
  constructor(list, on) {
    this.list = list;
    this.on = on;
  }

  show(recordings, chosen) {
    const { list } = this;
    list.hidden = !recordings.length;
    while (list.children.length > recordings.length) list.lastElementChild.remove();
    recordings.forEach((recording, place) => {
      this.fill(list.children[place] ?? list.appendChild(this.row()), recording, recording === chosen);
    });
    for (const { parts } of list.children) parts.name.disabled = recordings.length === 1;
  }

  fill(item, recording, chosen) {
    const { name, step, keep, again, remove, bar, reason } = item.parts;
    const working = recording.state === "working";
    const listening = recording.state === "listening";
    item.recording = recording;
    set(item, "className", `${recording.state}${chosen ? " chosen" : ""}`);
    set(name, "textContent", recording.name);
    name.setAttribute("aria-current", String(chosen));
    set(step, "textContent", recording.step);
    set(reason, "textContent", recording.reason);
    keep.hidden = !recording.made || listening;
    again.hidden = !["failed", "stopped"].includes(recording.state);
    again.setAttribute("aria-label", `Try again: ${recording.name}`);
    remove.hidden = working || listening;
    remove.setAttribute("aria-label", `Remove ${recording.name}`);
    bar.hidden = !working;
    bar.setAttribute("aria-label", `Progress of ${recording.name}`);
    if (recording.progress?.duration) {
      bar.max = recording.progress.duration;
      bar.value = recording.progress.seconds;
    } else bar.removeAttribute("value");
  }

  row() {
    const item = element("li");
    const button = (className, textContent, asked) => {
      const made = element("button", { type: "button", className, textContent });
      made.addEventListener("click", () => this.on[asked](item.recording));
      return made;
    };
    item.parts = {
      name: button("name", "", "choose"),
      step: element("span", { className: "step quiet" }),
      keep: button("keep", "Save recording", "keep"),
      again: button("again", "Try again", "again"),
      remove: button("remove", "\u00d7", "remove"),
      bar: element("progress"),
      reason: element("p", { className: "reason" }),
    };
    item.append(...Object.values(item.parts));
    return item;
  }
}
