// A transcript as txt, srt, vtt and json, by the rules of whisper_npu/output.
//
// A transcript: { phrases, language, language_probability, duration }. tests/browser compares both.

const LEAST_SECONDS = 0.001; // for which a segment or word lasts in json

export const TYPES = {
  txt: "text/plain",
  srt: "application/x-subrip",
  vtt: "text/vtt",
  json: "application/json",
};

export function written(format, transcript) {
  if (format === "json") return json(transcript);
  if (format === "txt") return transcript.phrases.map(textLine).filter(Boolean).map((line) => `${line}\n`).join("");
  if (format === "srt") {
    return cues(transcript)
      .map(({ start, end, text }, i) => `${i + 1}\n${clock(start, ",")} --> ${clock(end, ",")}\n${noArrows(text)}\n\n`)
      .join("");
  }
  const shown = cues(transcript).map(
    ({ start, end, text }) => `${clock(start, ".")} --> ${clock(end, ".")}\n${escaped(text)}\n\n`,
  );
  return `WEBVTT\n\n${shown.join("")}`;
}

// talk.final.wav gives talk.final.srt; a transcript that ended early talk.final.partial.srt.
export function fileName(recording, format, whole) {
  const stem = recording.replace(/(?<=.)\.[^.]*$/, "") || "recording";
  return `${stem}${whole ? "" : ".partial"}.${format}`;
}

function cues({ phrases, duration }) {
  const shown = phrases
    .map((phrase) => ({ text: textLine(phrase), words: phrase.words.filter(({ word }) => speechLine(word).trim()) }))
    .filter(({ text, words }) => text && words.length)
    .map(({ text, words }) => ({ start: ms(words[0].start), end: ms(words.at(-1).end), text }));
  // Rounded down: a cue must not outlast the recording. The small number is for 2.3 * 1000 = 2299.99...
  return inOrder(shown, Math.max(1, Math.floor(1000 * duration + 1e-6)), 1);
}

function textLine(phrase) {
  return speechLine(phrase.text).trim();
}

function speechLine(text) {
  return text.replace(/\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g, " ").replace(/(?!\t)\p{Cc}/gu, "");
}

// Starts never decrease, every span lasts at least `least`, and none is beyond `limit`.
function inOrder(spans, limit, least) {
  let latest = 0;
  return spans.map((span) => {
    if (span.start > latest) latest = Math.max(latest, Math.min(span.start, limit - least));
    const end = span.end > latest + least ? span.end : latest + least;
    return { ...span, start: latest, end: Math.min(end, limit) };
  });
}

function json({ phrases, language, language_probability, duration }) {
  const kept = phrases.filter((phrase) => phrase.text.trim());
  const limit = Math.max(LEAST_SECONDS, duration);
  const timed = ({ segment, corrected }) => segment.words || corrected;
  const words = inOrder(kept.filter(timed).flatMap((phrase) => phrase.words), limit, LEAST_SECONDS);
  let at = 0; // in words
  const segments = inOrder(kept, limit, LEAST_SECONDS).map((phrase) => {
    const { start, end, text, segment } = phrase;
    const fields = { ...segment, start, end, text };
    if (phrase.corrected) {
      delete fields.tokens; // they are those of the other text
      fields.corrected = true;
    }
    if (timed(phrase)) fields.words = words.slice(at, (at += phrase.words.length));
    else delete fields.words;
    return fields;
  });
  const text = kept.map((phrase) => phrase.text).join("");
  return `${JSON.stringify({ text, segments, language, language_probability, duration }, null, 2)}\n`;
}

function ms(seconds) {
  return Math.round(1000 * seconds);
}

function clock(milliseconds, mark) {
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const hours = two(milliseconds / 3_600_000);
  const minutes = two((milliseconds / 60_000) % 60);
  const seconds = two((milliseconds / 1000) % 60);
  return `${hours}:${minutes}:${seconds}${mark}${String(milliseconds % 1000).padStart(3, "0")}`;
}

function noArrows(text) {
  return text.replace(/-{2,}>/g, "->"); // SRT has no escapes
}

function escaped(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
