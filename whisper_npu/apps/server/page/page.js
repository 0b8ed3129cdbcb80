// The page: what people do, and what is seen of the recordings and of the chosen one's text.

import { health } from "./client.js";
import { $, download, set } from "./dom.js";
import { Live } from "./live.js";
import { Phrases } from "./phrases.js";
import { Player, short } from "./player.js";
import { Recorder } from "./record.js";
import { languageOf, List, mayLose, newLive, newRecording } from "./recordings.js";
import { copy, deviceName, save, showResult } from "./result.js";
import { edited, phraseOf } from "./transcript.js";
import { wait, Work } from "./work.js";

const DOUBLE_CLICK = 500; // ms after a click in which another one is the same person's same wish
const KEY = "whisper-npu-key"; // in sessionStorage, which ends with the tab
const LATE = 5; // seconds, from which on a person is told that the text is
const NAME = document.title;
const touch = matchMedia("(hover: none)").matches;

const recordings = [];
let chosen = null; // the recording that is shown
let followed = null; // the recording that is shown because its text was the last to appear
let outcome = ""; // of the last work, for the title
let about = {};

const player = new Player(
  {
    audio: $("audio"),
    box: $("player"),
    button: $("play"),
    back: $("back"),
    position: $("position"),
    clock: $("clock"),
    speed: $("speed"),
  },
  (seconds) => phrases.follow(seconds),
  () => show(),
);
const phrases = new Phrases($("phrases"), player, { edit, undo });
const list = new List($("recordings"), { choose, again, keep, remove });
const work = new Work(recordings, asked, () => sessionStorage.getItem(KEY), {
  show,
  showSoon,
  say,
  renewed,
  askForKey,
  ended,
});

// Recordings

// They wait for the button, also while others are transcribed.
function add(files, made = false) {
  const added = [...files].map((file) => newRecording(file, made));
  if (!added.length) return;
  recordings.push(...added);
  tell("");
  outcome = "";
  if (!work.busy && !live) choose(added[0]);
  show();
  if (!work.busy && !live) $("start").focus();
  say(added.length > 1 ? `${added.length} recordings added` : `${added[0].name} added`);
}

function remove(recording) {
  if (!mayLose(recording)) return;
  recordings.splice(recordings.indexOf(recording), 1);
  if (chosen === recording) choose(recordings[0] ?? null);
  show();
  $("choose").focus();
}

function choose(recording) {
  if (chosen === recording) return;
  phrases.leave();
  chosen = recording;
  player.pause();
  if (recording && recording.state !== "listening") player.load(recording.file);
  else player.hide();
  show();
}

// Of one that was made here.
function keep(recording) {
  download(recording.file, recording.name);
  recording.unsaved.delete("recording");
  say(`Saved ${recording.name}`);
}

// The work

function asked() {
  return {
    language: $("language").value,
    task: $("task").value,
    prompt: $("prompt").value.trim(),
    hotwords: $("hotwords").value.trim(),
    vad: $("vad").checked,
  };
}

// What is ready; or if nothing is, the chosen one once more.
function start() {
  const ready = recordings.filter(({ state }) => state === "ready");
  if (ready.length) begin(ready);
  else if (chosen && chosen.state !== "listening" && !work.busy) again(chosen);
}

function again(recording) {
  if (!mayLose(recording, ["edits"])) return;
  choose(recording);
  begin([recording]);
}

function begin(some) {
  for (const recording of some) wait(recording, "waiting");
  tell("");
  outcome = "";
  if (work.busy) {
    show();
    return;
  }
  followed = chosen;
  work.start();
  $("cancel").focus();
}

// Shows the text of the next recording, unless somebody hears or edits the last one, chose another, or is speaking.
function renewed(recording) {
  if (recording === chosen || live || chosen !== followed || phrases.inUse) return;
  followed = recording;
  choose(recording);
}

function ended(last) {
  const states = { done: "Done", failed: "Failed", stopped: "Cancelled" };
  outcome = states[last?.state] ?? "";
  const lost = [document.body, $("cancel")].includes(document.activeElement);
  show();
  if (!lost) return;
  if (last?.state !== "done" || last !== chosen) $("start").focus();
  else if (player.usable) $("play").focus();
  else $("title").focus();
}

let afterKey = start; // what the key is asked for

function askForKey(next = start) {
  afterKey = next;
  const tried = sessionStorage.getItem(KEY) !== null;
  sessionStorage.removeItem(KEY);
  $("key-form").hidden = false;
  wrongKey(tried ? "Wrong key" : "");
  $("key").focus();
}

function wrongKey(problem) {
  set($("key-problem"), "textContent", problem);
  $("key").setAttribute("aria-invalid", String(Boolean(problem)));
}

function takeKey() {
  const key = $("key").value.trim();
  if (!/^[!-~]+$/.test(key)) {
    wrongKey(key ? "Keys are ASCII letters, digits and marks, without spaces or umlauts" : "Type the key");
    $("key").focus();
    return;
  }
  sessionStorage.setItem(KEY, key);
  $("key").value = "";
  $("key-form").hidden = true;
  afterKey();
}

// Edits

function edit(place, text) {
  const { phrases: all, edits } = chosen.result;
  const after = edited(all[place], text);
  if (after !== all[place]) {
    all[place] = after;
    edits.push(place);
    chosen.unsaved.add("edits");
  }
  phrases.replace(place, after);
}

// The last edit at this place; without one, the last of all.
function undo(place = chosen?.result.edits.at(-1)) {
  if (place === undefined || phrases.fixed) return;
  const { phrases: all, edits } = chosen.result;
  edits.splice(edits.lastIndexOf(place), 1);
  all[place] = all[place].before;
  chosen.unsaved.add("edits");
  phrases.replace(place, all[place]);
}

// What is seen

function show() {
  clearTimeout(soon);
  soon = 0;
  const ready = recordings.filter(({ state }) => state === "ready").length;
  const again = !ready && recordings.length > 0 && chosen?.state !== "listening";
  const one = recordings.length > 1 && again ? "Transcribe the chosen one again" : "Transcribe again";
  set($("start"), "textContent", ready > 1 ? `Transcribe ${ready} recordings` : again ? one : "Transcribe");
  $("start").classList.toggle("main", !again);
  $("start").disabled = !recordings.length || (!ready && chosen?.state === "listening");
  $("start").hidden = work.busy && !ready;
  $("cancel").hidden = !work.busy;
  document.body.classList.toggle("begun", recordings.length > 0);
  list.show(recordings, chosen);
  showText();
  showOptions();
  showTitle();
}

// A long answer comes in many events, which are drawn together. A timer, as it runs in a hidden tab too.
let soon = 0;
function showSoon() {
  soon ||= setTimeout(show, 30);
}

// Whoever reads the last line keeps on seeing the last line, unless something is done to the text.
function showText() {
  const page = document.documentElement;
  const all = chosen?.result.phrases ?? [];
  const grows =
    phrases.shown === all &&
    (all.length > $("phrases").children.length || (chosen?.partial ?? "") !== $("partial").textContent);
  const atEnd = grows && !phrases.inUse && page.scrollHeight > innerHeight && page.scrollHeight - scrollY - innerHeight < 40;
  const fixed = chosen?.state === "working" && chosen.result !== chosen.next; // the next text will replace it
  phrases.show(all, chosen ? languageOf(chosen.result) : "", fixed);
  showResult(chosen, player.refused, about);
  if (atEnd) scrollTo({ top: page.scrollHeight });
}

// Where there is text, the options make room for it.
function showOptions() {
  const open = $("more").getAttribute("aria-expanded") === "true";
  const folded = Boolean(chosen?.result.phrases.length) && !recordings.some(({ state }) => state === "ready");
  $("first-options").hidden = folded && !open && !$("first-options").contains(document.activeElement);
  $("more-options").hidden = !open;
  set($("more"), "textContent", folded ? "Options" : "More options");
}

function showTitle() {
  const { seconds, duration } = recordings.find(({ state }) => state === "working")?.progress ?? {};
  const working = duration ? `${Math.round((100 * seconds) / duration)} %` : "Working";
  const now = recorder ? "Recording" : live ? "Listening" : work.busy ? working : outcome;
  set(document, "title", now ? `${now} - ${NAME}` : NAME);
}

function tell(problem) {
  $("problem").hidden = !problem;
  set($("problem"), "textContent", problem);
}

function say(text) {
  set($("status"), "textContent", text);
}

// What comes out

function saveAs(format) {
  say(`Saved ${save(chosen, format)}`);
  textIsSafe();
}

async function copyAll() {
  try {
    await copy(chosen);
  } catch (error) {
    tell(error.message);
    return;
  }
  textIsSafe();
  say("Copied");
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy all"), 2000);
}

function textIsSafe() {
  chosen.unsaved.delete("text");
  chosen.unsaved.delete("edits");
}

// The microphone

let recorder = null;
let live = null; // while somebody is listened to, and until the rest of it is there
let spoken = null; // the recording that is made of it
let clockTimer = 0; // of what is listened to
let turned = -Infinity; // when listening began, or was told to end
let opening = false; // while the browser asks whether it may

async function record() {
  if (opening || live) return;
  if (recorder) {
    endRecording();
    return;
  }
  tell("");
  opening = true;
  try {
    recorder = await Recorder.started(microphoneIsGone);
    player.pause(); // it would be heard
    say("Recording");
  } catch (error) {
    tell(error.message);
  } finally {
    opening = false;
  }
  showRecorder();
}

async function endRecording() {
  const ended = recorder;
  recorder = null;
  showRecorder();
  add([await ended.stopped()], true);
}

async function microphoneIsGone() {
  await endRecording();
  tell("The microphone is gone. What it heard until then is in the list.");
}

function showRecorder() {
  $("record").classList.toggle("recording", Boolean(recorder));
  $("live").disabled = Boolean(recorder);
  set($("record-label"), "textContent", recorder ? "Stop recording" : "Record");
  $("record-clock").textContent = recorder ? short(recorder.seconds) : "";
  showTitle();
  if (recorder) setTimeout(showRecorder, 250);
}

async function listen() {
  if (opening || recorder || performance.now() - turned < DOUBLE_CLICK) return;
  if (live) {
    endListening();
    return;
  }
  tell("");
  opening = true;
  const { task } = asked();
  try {
    live = await Live.started(asked(), sessionStorage.getItem(KEY), { line: heardLine, gone: microphoneIsGoneLive, ended: listened });
    player.pause(); // it would be heard
    outcome = "";
    spoken = newLive(live.name, task);
    recordings.push(spoken);
    turned = performance.now();
    choose(spoken);
    say("Listening");
  } catch (error) {
    if (error.code === "invalid_api_key") askForKey(listen);
    else tell(error.message);
  } finally {
    opening = false;
  }
  showListening();
  show();
}

// The first time it waits for what the server still has to say, the second time not.
function endListening() {
  if (live.ending) {
    live.leave();
    return;
  }
  live.end();
  turned = performance.now();
  say("Finishing");
  showListening();
}

function microphoneIsGoneLive() {
  endListening();
  tell("The microphone is gone. What it heard until then is in the list.");
}

// A partial line may be another one in a moment, and is not read out; a final one is.
function heardLine({ type, text, language, segments }) {
  spoken.result.report = { language, duration: live.seconds };
  spoken.partial = type === "partial" ? text : "";
  if (type === "final" && text) {
    spoken.result.phrases.push(...segments.map(phraseOf));
    spoken.unsaved.add("text");
    say(text);
  }
  showSoon();
}

// error: what ended it too early; report: the server's last message. Neither: the rest was not waited for.
function listened(error, report) {
  const recording = spoken;
  Object.assign(recording, { file: live.file(), partial: "", state: "done", step: "Done" });
  recording.unsaved.add("recording");
  const at = short(live.seconds);
  if (report) Object.assign(recording.result, { whole: true, report: { language_probability: 1, ...recording.result.report, ...report } });
  else if (error) {
    Object.assign(recording, { state: "failed", step: `Failed after ${at}`, reason: error.message });
    tell(error.message);
  } else Object.assign(recording, { state: "stopped", step: `Finished before the end of ${at}` });
  outcome = error ? "Failed" : report ? "Done" : "Finished";
  say(error ? `Stopped listening. ${error.message}` : outcome);
  live = spoken = null;
  if (recording === chosen) player.load(recording.file);
  showListening();
  show();
}

function showListening() {
  clearTimeout(clockTimer);
  $("live").classList.toggle("recording", Boolean(live));
  set($("live-label"), "textContent", live ? (live.ending ? "Finish now" : "Stop listening") : "Listen live");
  $("live-clock").textContent = live ? short(live.seconds) : "";
  $("live").disabled = Boolean(recorder);
  $("record").disabled = Boolean(live);
  if (live) {
    const behind = live.late > LATE ? `, the text comes ${short(live.late)} late` : "";
    spoken.step = `${live.ending ? "Finishing" : "Listening"} ${short(live.seconds)}${behind}`;
    spoken.unsaved.add("recording");
    list.show(recordings, chosen);
    clockTimer = setTimeout(showListening, 250);
  }
  showTitle();
}

// What people do

$("live").addEventListener("click", listen);
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
$("more").addEventListener("click", () => {
  $("more").setAttribute("aria-expanded", String($("more").getAttribute("aria-expanded") !== "true"));
  showOptions();
});
$("cancel").addEventListener("click", () => work.cancel());
$("cancel").addEventListener("keydown", (event) => {
  if (event.key === "Escape") work.cancel();
});
$("copy").addEventListener("click", copyAll);
for (const button of document.querySelectorAll("[data-format]")) {
  button.addEventListener("click", () => saveAs(button.dataset.format));
}
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  takeKey();
});

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey || event.target.matches("textarea, input:not([type=range], [type=checkbox])")) return;
  const control = event.target.closest("a, button, input:not([type=range]), select, summary");
  if (event.key === " " && !control && player.usable && !$("result").hidden) {
    event.preventDefault(); // does not scroll
    player.toggle();
  } else if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    undo();
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
  if (work.busy || recorder || live || recordings.some(({ unsaved }) => unsaved.size)) event.preventDefault();
});

if (touch) $("invitation").textContent = "Choose a recording, or make one";
if ($("language").options.length === 1) $("task").disabled = true; // a model that knows English only
health().then(
  (answer) => {
    about = answer;
    $("about").textContent = `${answer.model} on ${deviceName(answer.device)}`;
    $("about").title = answer.device_description ?? "";
  },
  (error) => tell(error.message),
);
