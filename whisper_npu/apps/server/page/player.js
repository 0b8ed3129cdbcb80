// Plays the chosen recording.

const BACK = 5; // seconds
const STEPS = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, PageDown: -30, PageUp: 30 }; // of the slider

export class Player {
  // parts: audio, box, button, back, position, clock, speed (elements). onTime is told the seconds, and null when it is paused.
  // onRefused: when the browser cannot play the recording.
  constructor(parts, onTime, onRefused) {
    Object.assign(this, parts);
    this.onTime = onTime;
    this.url = null;
    this.refused = false;
    this.until = Infinity; // where it pauses
    this.audio.addEventListener("play", () => this.follow());
    this.audio.addEventListener("pause", () => this.show());
    this.audio.addEventListener("ended", () => this.show());
    this.audio.addEventListener("seeked", () => this.show());
    this.audio.addEventListener("loadedmetadata", () => this.loaded());
    this.audio.addEventListener("error", () => {
      this.hide();
      this.refused = true;
      onRefused();
    });
    this.button.addEventListener("click", () => this.toggle());
    this.back.addEventListener("click", () => this.seek(this.audio.currentTime - BACK));
    this.position.addEventListener("input", () => this.seek(Number(this.position.value)));
    this.position.addEventListener("keydown", (event) => {
      if (!Object.hasOwn(STEPS, event.key)) return;
      event.preventDefault();
      this.seek(this.audio.currentTime + STEPS[event.key]);
    });
    this.speed.addEventListener("change", () => {
      this.audio.defaultPlaybackRate = this.audio.playbackRate = Number(this.speed.value); // of the next ones too
    });
  }

  load(file) {
    this.hide();
    this.refused = false;
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = URL.createObjectURL(file);
    this.audio.src = this.url;
  }

  get usable() {
    return !this.box.hidden;
  }

  get playing() {
    return !this.audio.paused;
  }

  toggle() {
    if (!this.usable) return;
    this.until = Infinity;
    if (this.playing) this.audio.pause();
    else this.play();
  }

  // From these seconds on.
  playFrom(seconds, until = Infinity) {
    if (!this.usable) return;
    this.seek(seconds);
    this.until = until;
    this.play();
  }

  pause() {
    this.audio.pause();
  }

  seek(seconds) {
    this.until = Infinity;
    this.audio.currentTime = Math.min(Math.max(0, seconds), this.audio.duration);
    this.show();
  }

  play() {
    this.audio.play().catch(() => {}); // paused before it began
  }

  // What a browser recorded has no length in its header: it is found by going to its end.
  async loaded() {
    if (this.audio.duration === Infinity) {
      const known = new Promise((resolve) => this.audio.addEventListener("durationchange", resolve, { once: true }));
      this.audio.currentTime = Number.MAX_SAFE_INTEGER;
      await known;
      this.audio.currentTime = 0;
    }
    this.box.hidden = false;
    this.position.max = this.audio.duration;
    this.show();
  }

  hide() {
    this.box.hidden = true;
    this.audio.pause();
  }

  follow() {
    if (this.audio.currentTime >= this.until) this.pause();
    this.show();
    if (this.playing) requestAnimationFrame(() => this.follow());
  }

  show() {
    const seconds = this.audio.currentTime;
    const length = this.audio.duration || 0;
    this.button.setAttribute("aria-label", this.playing ? "Pause" : "Play");
    this.box.classList.toggle("playing", this.playing);
    this.position.value = seconds;
    this.position.style.setProperty("--done", length ? `${(100 * seconds) / length}%` : "0%");
    const text = `${short(seconds)} / ${short(length)}`;
    if (this.clock.textContent !== text) {
      this.clock.textContent = text;
      this.position.setAttribute("aria-valuetext", `${short(seconds)} of ${short(length)}`);
    }
    this.onTime(this.playing ? seconds : null);
  }
}

// 1:02:03, 2:03
export function short(seconds) {
  const whole = Math.floor(seconds);
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}
