// The chosen recording's result: what can be said of its text, and what comes out of it.

import { $, download, element, set } from "./dom.js";
import { fileName, TYPES, written } from "./subtitles.js";

const touch = matchMedia("(hover: none)").matches;
let reported = null; // what is in the report

// recording: the chosen one, or null. refused: the browser cannot play it. about: what /health said.
export function showResult(recording, refused, about) {
  const { phrases = [], report = {}, whole } = recording?.result ?? {};
  const any = phrases.length > 0;
  const partial = recording?.partial ?? "";
  $("result").hidden = !any && !whole && !partial;
  $("partial").hidden = !partial;
  set($("partial"), "textContent", partial);
  $("empty").hidden = any || !whole;
  $("outputs").hidden = !any || (recording.state === "working" && !whole);
  const listening = recording?.state === "listening";
  const hear = refused ? "This browser cannot play this kind of recording." : `${touch ? "Tap" : "Click"} a word to hear it.`;
  $("hint").hidden = !any || listening;
  set($("how"), "textContent", touch ? hear : `${hear} Double-click to edit: Enter saves, Esc discards.`);
  $("legend").hidden = !document.querySelector("#phrases .unsure");
  showReport(whole ? report : null, about);
}

function showReport(report, about) {
  $("report").hidden = !report;
  if (report === reported || !report) return;
  reported = report;
  const emulated = report.device === "emulator";
  const { duration, measured_seconds: seconds, real_time_factor: factor } = report;
  const where = emulated ? "the CPU (emulated NPU)" : deviceName(report.device);
  $("summary").textContent = `${tenths(seconds)} s for ${tenths(duration)} s of audio, on ${where}`;
  const lines = [
    ["Real-time factor", factor?.toFixed(2), `MEASURED: ${tenths(seconds)} s for ${tenths(duration)} s of audio`],
    ["Device", emulated ? "Emulated NPU" : report.device === "npu" ? "NPU" : report.device, report.device_description],
    ["Dispatches", Number(report.dispatches).toLocaleString("en")],
    ["Language", languageName(report.language), sure(report.language_probability)],
    ["Model", report.model ?? about.model],
  ];
  $("details").replaceChildren(
    ...lines
      .filter(([, text]) => text)
      .map(([term, text, note]) => {
        const line = element("div");
        const value = element("dd", { textContent: text });
        if (note) value.append(" ", element("span", { textContent: note }));
        line.append(element("dt", { textContent: term }), value);
        return line;
      }),
  );
}

// "the NPU", in a sentence
export function deviceName(name) {
  return name === "emulator" ? "the emulated NPU" : name === "npu" ? "the NPU" : name;
}

function languageName(code) {
  if (!code) return "";
  const option = [...$("language").options].find(({ value }) => value === code);
  return option?.textContent ?? new Intl.DisplayNames("en", { type: "language" }).of(code);
}

function sure(probability) {
  return probability < 1 ? `${Math.round(100 * probability)} % sure` : "";
}

function tenths(seconds) {
  return Number(seconds).toFixed(1);
}

// Downloads the text, and returns the file's name.
export function save(recording, format) {
  const { phrases, report, whole } = recording.result;
  const duration = phrases.at(-1)?.words.at(-1)?.end ?? 0; // of a part
  const transcript = { language: "", language_probability: 0, duration, ...report, phrases };
  const name = fileName(recording.name, format, whole);
  download(new Blob([written(format, transcript)], { type: `${TYPES[format]};charset=utf-8` }), name);
  return name;
}

// Throws an Error where the browser does not let it.
export async function copy(recording) {
  const text = written("txt", recording.result);
  try {
    await navigator.clipboard.writeText(text);
    return;
  } catch {
    // Not on https or localhost, or not allowed.
  }
  const focused = document.activeElement;
  const field = element("textarea", { value: text });
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  focused.focus();
  if (!copied) throw new Error("This browser does not let the page copy; save the text instead");
}
