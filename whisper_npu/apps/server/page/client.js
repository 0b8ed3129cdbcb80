// Speaks with the server that this page came from. docs/server.md describes what is said.

export class ServerError extends Error {
  constructor(message, status = 0, retryAfter = 0) {
    super(message);
    this.status = status; // of HTTP; 0: the error came otherwise
    this.retryAfter = retryAfter; // seconds
  }
}

// No answer came, or only a part of one.
export class UnreachableError extends ServerError {}

// Which model and device there are.
export async function health() {
  const answer = await reached(fetch("health", { cache: "no-store" }));
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
}

// The events of one transcription as the server sends them; the last one is transcript.text.done.
//
// asked: language ("" detects it), task, prompt, hotwords, vad. Throws ServerError, or the signal's AbortError.
export async function* transcribe(file, asked, { key, signal }) {
  await checkReadable(file);
  const form = new FormData();
  form.append("response_format", "verbose_json");
  form.append("stream", "true");
  form.append("timestamp_granularities[]", "word");
  form.append("timestamp_granularities[]", "segment");
  if (asked.language) form.append("language", asked.language);
  if (asked.prompt) form.append("prompt", asked.prompt);
  if (asked.hotwords) form.append("hotwords", asked.hotwords);
  if (asked.vad) form.append("vad_filter", "true");
  form.append("file", file, file.name);

  const door = asked.task === "translate" ? "v1/audio/translations" : "v1/audio/transcriptions";
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const answer = await reached(fetch(door, { method: "POST", body: form, headers, signal }));
  if (!answer.ok) throw await refusal(answer);

  for await (const event of events(answer.body)) {
    if (event.error) throw new ServerError(messageOf(event) ?? "The server gave up");
    yield event;
    if (event.type === "transcript.text.done") return;
  }
  throw new UnreachableError("The server's answer broke off; try again");
}

// Server-sent events, each a JSON object. https://html.spec.whatwg.org/multipage/server-sent-events.html
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reached(reader.read());
      if (done) return;
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const lines = block.split(/\r?\n/).filter((line) => line.startsWith("data:"));
        const data = lines.map((line) => line.slice(5).trimStart()).join("\n");
        if (data && data !== "[DONE]") yield JSON.parse(data);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// A file that was moved meanwhile, or a folder, would look as if the server could not be reached.
async function checkReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new ServerError("The file cannot be read: it is a folder, or was moved or changed");
  }
}

async function reached(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new UnreachableError("The server cannot be reached: is it still running?");
  }
}

async function refusal(answer) {
  const text = await answer.text().catch(() => "");
  let message;
  try {
    message = messageOf(JSON.parse(text));
  } catch {
    // not JSON: from a proxy, for instance
  }
  const retryAfter = Number(answer.headers.get("Retry-After")) || 5; // a date, or none: soon
  message ??= `The server answered ${answer.status} ${answer.statusText}`;
  return new ServerError(message, answer.status, retryAfter);
}

function messageOf({ error, detail }) {
  const message = error?.message ?? error ?? detail;
  return typeof message === "string" ? message : undefined;
}
