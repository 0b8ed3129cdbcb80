// The page: recordings in, one after the other, and the chosen one's transcript.
//
// A recording: { file, name, state, step, progress, phrases, report, unsaved, task }.
//   state    "ready", "working", "done", "failed" or "stopped"
//   step     what happens to it, as a line for people
//   report   what the server told of it so far
//   unsaved  whether there are corrections that were not saved

import { health, ServerError, transcribe, UnreachableError } from "./client.js";
import { element, Phrases } from "./phrases.js";
import { Player, short } from "./player.js";
import { Recorder } from "./record.js";
import { fileName, TYPES, written } from "./subtitles.js";
import { corrected, phraseOf } from "./transcript.js";

const KEY = "whisper-npu-key"; // in sessionStorage, which ends with the tab
const $ = (id) => document.getElementById(id);

const recordings = [];
let chosen = null; // the recording that is shown
let followed = null; // the recording that is shown because its text was the last to appear
let work = null; // the AbortController of the one that is transcribed
let recorder = null;
let about = {};
const touch = matchMedia("(hover: none)").matches;

const player = new Player(
  { audio: $("audio"), box: $("player"), button: $("play"), position: $("position"), clock: $("clock") },
  (seconds) => phrases.follow(seconds),
  () => showResult(),
);
const phrases = new Phrases($("phrases"), player, correct);

// Recordings

function add(files) {
  const added = [...files].map((file) => ({
    file,
    name: file.name,
    state: "ready",
    step: size(file.size),
    progress: null,
    phrases: [],
    report: null,
    unsaved: false,
  }));
  if (!added.length) return;
  recordings.push(...added);
  tell("");
  if (!work) choose(added[0]);
  show();
  if (!work) $("start").focus();
}

// What a person wrote is not thrown away without asking.
function mayLose(recording) {
  return !recording.unsaved || confirm(`The corrections of ${recording.name} are not saved. Give them up?`);
}

function remove(recording) {
  if (!mayLose(recording)) return;
  recordings.splice(recordings.indexOf(recording), 1);
  if (chosen === recording) choose(recordings[0] ?? null);
  show();
}

function choose(recording) {
  chosen = recording;
  player.pause();
  if (recording) {
    player.load(recording.file);
    phrases.lang = language(recording);
    phrases.show(recording.phrases);
  }
  show();
}

function correct(place, text) {
  const before = chosen.phrases[place];
  const after = corrected(before, text);
  if (after !== before) chosen.unsaved = true;
  chosen.phrases[place] = after;
  phrases.replace(place, after);
}

// The work

// What is ready; or if nothing is, the chosen one once more.
function start() {
  if (work) return;
  if (chosen && !recordings.some(({ state }) => state === "ready")) {
    if (!mayLose(chosen)) return;
    chosen.state = "ready";
  }
  workOff();
}

async function workOff() {
  followed = chosen;
  tell("");
  for (let next; (next = recordings.find(({ state }) => state === "ready")); ) {
    if (!(await run(next))) break;
  }
}

// Whether to go on with the next one.
async function run(recording) {
  work = new AbortController();
  Object.assign(recording, {
    state: "working",
    step: "Sending",
    progress: null,
    phrases: [],
    report: null,
    unsaved: false,
    task: $("task").value,
  });
  const focused = document.activeElement === $("start");
  if (chosen === recording) choose(recording); // without the text that it had before
  show();
  if (focused) $("cancel").focus();
  say(`${recording.name}: sending`);
  let goOn = true;
  try {
    const asked = {
      language: $("language").value,
      task: recording.task,
      prompt: $("prompt").value.trim(),
      hotwords: $("hotwords").value.trim(),
      vad: $("vad").checked,
    };
    const options = { key: sessionStorage.getItem(KEY), signal: work.signal };
    for await (const event of transcribe(recording.file, asked, options)) take(recording, event);
    recording.state = "done";
    recording.step = "Done";
    say(`${recording.name}: done`);
  } catch (error) {
    goOn = failed(recording, error);
  }
  const back = document.activeElement === $("cancel");
  work = null;
  show();
  if (back) $("start").focus();
  return goOn;
}

function take(recording, event) {
  if (event.type === "transcript.progress" && event.queue_position !== undefined) {
    recording.step = event.queue_position > 0 ? `Waiting, ${event.queue_position} before it` : "Starting";
    say(`${recording.name}: ${recording.step}`);
  } else if (event.type === "transcript.progress") {
    const { seconds_done, duration, language, language_probability } = event;
    if (language) recording.report = { language, language_probability, duration };
    progressed(recording, seconds_done);
  } else if (event.type === "transcript.text.delta" && event.segment) {
    const phrase = phraseOf(event.segment);
    recording.phrases.push(phrase);
    progressed(recording, phrase.end);
    if (chosen === recording) append(phrase);
    else if (recording.phrases.length === 1) follow(recording);
  } else if (event.type === "transcript.text.done") {
    recording.report = { ...recording.report, ...event };
  }
  show();
}

// So many seconds are transcribed. Heard of at every quarter: a screen reader has other things to say.
function progressed(recording, done) {
  const before = recording.progress?.seconds ?? 0;
  const duration = recording.report?.duration ?? 0;
  const seconds = Math.min(Math.max(before, done), duration);
  recording.progress = { seconds, duration };
  recording.step = `${short(seconds)} of ${short(duration)}`;
  const quarter = (at) => Math.floor((4 * at) / duration);
  if (quarter(seconds) > quarter(before)) say(`${recording.step} transcribed`);
}

// Shows the text of the next recording, unless somebody hears or corrects the last one, or chose another.
function follow(recording) {
  const busy = player.playing || $("result").contains(document.activeElement);
  if (chosen !== followed || busy) return;
  followed = recording;
  choose(recording);
}

// Whoever reads the last line keeps on seeing the last line.
function append(phrase) {
  const page = document.documentElement;
  const atEnd = page.scrollHeight > innerHeight && page.scrollHeight - scrollY - innerHeight < 40;
  $("result").hidden = false;
  phrases.lang = language(chosen);
  phrases.add(phrase);
  if (atEnd) scrollTo({ top: page.scrollHeight });
}

// Whether the others can still be tried.
function failed(recording, error) {
  const reached = recording.progress && recording.phrases.length ? ` after ${recording.step}` : "";
  if (error.name === "AbortError") {
    recording.state = "stopped";
    recording.step = `Cancelled${reached}`;
    say(`${recording.name}: cancelled`);
    return false;
  }
  recording.state = "failed";
  recording.step = `Failed${reached}`;
  if (error.status === 401) {
    recording.state = "ready";
    recording.step = size(recording.file.size);
    tell(sessionStorage.getItem(KEY) ? "The server does not take this key; try another" : "");
    sessionStorage.removeItem(KEY);
    $("key-form").hidden = false;
    $("key").focus();
    return false;
  }
  if (!(error instanceof ServerError)) console.error(error);
  const message = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  tell(recordings.length > 1 ? `${recording.name}: ${error.message}` : message);
  return !(error instanceof UnreachableError); // the next one would have no answer either
}

// What is seen

function show() {
  const ready = recordings.filter(({ state }) => state === "ready").length;
  const label = ready > 1 ? `Transcribe ${ready} recordings` : "Transcribe";
  const again = !ready && recordings.length > 0;
  $("start").textContent = again ? "Transcribe again" : label;
  $("start").classList.toggle("main", !again);
  $("start").disabled = !recordings.length;
  $("start").hidden = Boolean(work);
  $("cancel").hidden = !work;
  document.body.classList.toggle("begun", recordings.length > 0);
  showList();
  showResult();
}

function showList() {
  const list = $("recordings");
  list.hidden = !recordings.length;
  while (list.children.length > recordings.length) list.lastElementChild.remove();
  recordings.forEach((recording, place) => {
    const item = list.children[place] ?? list.appendChild(row());
    const { name, step, remove: off, bar } = item.parts;
    item.recording = recording;
    item.className = `${recording.state}${recording === chosen ? " chosen" : ""}`;
    set(name, "textContent", recording.name);
    name.disabled = recordings.length === 1;
    name.setAttribute("aria-current", String(recording === chosen));
    set(step, "textContent", recording.step);
    off.hidden = recording.state === "working";
    off.setAttribute("aria-label", `Remove ${recording.name}`);
    bar.hidden = recording.state !== "working";
    bar.setAttribute("aria-label", `Progress of ${recording.name}`);
    if (recording.progress?.duration) {
      bar.max = recording.progress.duration;
      bar.value = recording.progress.seconds;
    } else bar.removeAttribute("value");
  });
}

function row() {
  const item = element("li");
  const name = element("button", { type: "button", className: "name" });
  const step = element("span", { className: "step quiet" });
  const off = element("button", { type: "button", className: "remove", textContent: "\u00d7" });
  const bar = element("progress");
  name.addEventListener("click", () => choose(item.recording));
  off.addEventListener("click", () => {
    remove(item.recording);
    $("choose").focus();
  });
  item.parts = { name, step, remove: off, bar };
  item.append(name, step, off, bar);
  return item;
}

function showResult() {
  const over = chosen && ["done", "failed", "stopped"].includes(chosen.state);
  const any = Boolean(chosen?.phrases.length);
  $("result").hidden = !chosen || (!any && chosen.state !== "done");
  $("empty").hidden = any || chosen?.state !== "done";
  $("hint").hidden = !any;
  const hear = `${touch ? "Tap" : "Click"} a word to hear it from there.`;
  const heard = player.refused ? "This browser cannot play this kind of recording." : hear;
  set($("hint"), "textContent", touch ? heard : `${heard} Double-click to correct, Enter to keep it.`);
  $("outputs").hidden = !any || !over;
  const report = chosen?.state === "done" ? lines(chosen.report) : [];
  $("report").hidden = !report.length;
  $("report").replaceChildren(
    ...report.map(([term, text, note]) => {
      const line = element("div");
      const value = element("dd", { textContent: text });
      if (note) value.append(" ", element("span", { className: "quiet", textContent: note }));
      line.append(element("dt", { textContent: term }), value);
      return line;
    }),
  );
}

// What ran, and how fast.
function lines(report) {
  const emulated = report.device === "emulator";
  const { duration, measured_seconds: seconds, real_time_factor: factor } = report;
  const lines = [
    ["Device", emulated ? "Emulated NPU" : report.device === "npu" ? "NPU" : report.device, report.device_description],
    ["Dispatches", Number(report.dispatches).toLocaleString("en")],
    ["Real-time factor", factor?.toFixed(2), `MEASURED: ${tenths(seconds)} s for ${tenths(duration)} s of audio`],
    ["Language", languageName(report.language), sure(report.language_probability)],
    ["Model", report.model ?? about.model],
  ];
  return lines.filter(([, text]) => text);
}

// Of the text.
function language({ task, report }) {
  return task === "translate" ? "en" : (report?.language ?? "");
}

function languageName(code) {
  const option = [...$("language").options].find(({ value }) => value === code);
  return option?.textContent ?? code;
}

function sure(probability) {
  return probability < 1 ? `${Math.round(100 * probability)} % sure` : "";
}

function tenths(seconds) {
  return Number(seconds).toFixed(1);
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

// Only what changed: a live region is read whenever it is written, and a click needs its element to stay.
function set(target, property, value) {
  if (target[property] !== value) target[property] = value;
}

function tell(problem) {
  $("problem").hidden = !problem;
  $("problem").textContent = problem;
}

function say(text) {
  set($("status"), "textContent", text);
}

// What comes out

function save(format) {
  const transcript = { language: "", language_probability: 0, duration: lastEnd(chosen), ...chosen.report, phrases: chosen.phrases };
  const name = fileName(chosen.name, format, chosen.state === "done");
  const url = URL.createObjectURL(new Blob([written(format, transcript)], { type: `${TYPES[format]};charset=utf-8` }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000); // the browser has it by then
  chosen.unsaved = false;
  say(`Saved ${name}`);
}

function lastEnd(recording) {
  return recording.phrases.at(-1)?.words.at(-1)?.end ?? 0;
}

async function copy() {
  const text = written("txt", chosen);
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Not on https or localhost, or not allowed.
    const field = element("textarea", { value: text });
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    $("copy").focus();
  }
  $("copy").textContent = "Copied";
  say("Copied");
  setTimeout(() => ($("copy").textContent = "Copy all"), 2000);
}

// The microphone

async function record() {
  tell("");
  if (recorder) {
    const ended = recorder;
    recorder = null;
    showRecorder();
    add([await ended.stopped()]);
    return;
  }
  try {
    $("record").disabled = true;
    recorder = await Recorder.started();
  } catch (error) {
    tell(error.message);
  } finally {
    $("record").disabled = false;
  }
  showRecorder();
}

function showRecorder() {
  $("record").classList.toggle("recording", Boolean(recorder));
  $("record-label").textContent = recorder ? `Stop ${short(recorder.seconds)}` : "Record";
  if (recorder) setTimeout(showRecorder, 250);
}

// What people do

$("choose").addEventListener("click", () => $("files").click());
$("files").addEventListener("change", () => {
  add($("files").files);
  $("files").value = ""; // the same file can be chosen again
});
$("record").addEventListener("click", record);
$("options").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
$("cancel").addEventListener("click", () => work?.abort());
$("copy").addEventListener("click", copy);
for (const button of document.querySelectorAll("[data-format]")) {
  button.addEventListener("click", () => save(button.dataset.format));
}
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("key").value);
  $("key").value = "";
  $("key-form").hidden = true;
  workOff();
});

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented) return;
  if (event.key === "Escape") work?.abort();
  const control = event.target.closest("a, button, input, select, textarea, summary, [role=button]");
  if (event.key === " " && !control && player.usable) {
    event.preventDefault(); // does not scroll
    player.toggle();
  }
});

const withFiles = (event) => event.dataTransfer?.types.includes("Files");
let inside = 0; // enter and leave come for every element that is crossed
document.addEventListener("dragenter", (event) => {
  if (withFiles(event)) document.body.classList.toggle("over", ++inside > 0);
});
document.addEventListener("dragleave", (event) => {
  if (withFiles(event)) document.body.classList.toggle("over", --inside > 0);
});
document.addEventListener("dragover", (event) => {
  if (withFiles(event)) event.preventDefault();
});
document.addEventListener("drop", (event) => {
  if (!withFiles(event)) return;
  event.preventDefault();
  inside = 0;
  document.body.classList.remove("over");
  add(event.dataTransfer.files);
});

addEventListener("beforeunload", (event) => {
  if (work || recorder || recordings.some(({ unsaved }) => unsaved)) event.preventDefault();
});

if (touch) $("invitation").textContent = "Choose a recording, or make one";
if ($("language").options.length === 1) $("task").disabled = true; // a model that knows English only
health().then(
  (answer) => {
    about = answer;
    const device = answer.device === "emulator" ? "emulated NPU" : answer.device === "npu" ? "NPU" : answer.device;
    $("about").textContent = `${answer.model} on the ${device}`;
    $("about").title = answer.device_description ?? "";
  },
  (error) => tell(error.message),
);
