// The microphone, and what is made of what it hears.

// The microphone's stream, once the person lets the page have it. Throws an Error whose message is for people.
export async function microphone() {
  if (!navigator.mediaDevices) throw new Error("Browsers record only on https and on localhost; choose a file instead");
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    throw new Error(reasons[error.name] ?? `The microphone cannot be used (${error.message}); choose a file instead`);
  }
}

export function letGo(stream) {
  for (const track of stream.getTracks()) track.stop();
}

// By this moment: recording-2026-01-31-120000.webm
export function nameNow(kind, ending) {
  const now = new Date();
  const two = (number) => String(number).padStart(2, "0");
  const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  const time = [now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join("");
  return `${kind}-${day}-${time}.${ending}`;
}

const reasons = {
  NotAllowedError: "The microphone is not allowed: allow it beside the address of this page, or choose a file",
  NotFoundError: "There is no microphone: plug one in, or choose a file",
  NotReadableError: "Another program uses the microphone: end it, or choose a file",
};
