// The transcript on the page: words that can be heard, phrases that can be corrected.
//
// One word of each phrase can be reached with Tab; the arrows go on from there.

import { short } from "./player.js";

const UNSURE = 0.5; // a word that was decoded with less probability is marked

export class Phrases {
  // player: what plays. onCorrect is told the place of a phrase and its new text.
  constructor(list, player, onCorrect) {
    this.list = list;
    this.player = player;
    this.onCorrect = onCorrect;
    this.lang = ""; // of the text, for screen readers and hyphenation; a code
    this.known = null; // what words() found
    this.spoken = null; // the element of the word that is heard
    this.chosen = null; // the word that was asked for last
    list.addEventListener("click", (event) => this.clicked(event));
    list.addEventListener("dblclick", (event) => this.edit(event.target.closest("li")));
    list.addEventListener("keydown", (event) => this.pressed(event));
  }

  show(phrases) {
    this.list.replaceChildren();
    phrases.forEach((phrase) => this.add(phrase));
  }

  add(phrase) {
    const item = document.createElement("li");
    this.list.append(item);
    this.fill(item, phrase);
  }

  fill(item, phrase) {
    this.known = null;
    item.phrase = phrase;
    item.classList.toggle("corrected", phrase.corrected);
    item.classList.remove("open");
    const text = element("p", { className: "text", lang: this.lang, dir: "auto" });
    let first = true;
    for (const word of phrase.words) {
      const body = word.word.trim();
      if (!body) continue;
      const space = !first && /^\s/.test(word.word) ? " " : "";
      const button = element("span", { className: "word", textContent: body, tabIndex: first ? 0 : -1 });
      button.setAttribute("role", "button");
      button.word = word;
      if (word.probability !== null && word.probability < UNSURE) {
        button.classList.add("unsure");
        button.title = `${Math.round(100 * word.probability)} % sure`;
      }
      text.append(space, button);
      first = false;
    }
    const time = element("button", { type: "button", className: "time", textContent: short(phrase.start) });
    time.setAttribute("aria-label", `Play from ${short(phrase.start)}`);
    const correct = element("button", { type: "button", className: "correct", textContent: "Correct" });
    correct.setAttribute("aria-label", `Correct the phrase at ${short(phrase.start)}`);
    item.replaceChildren(time, text, correct);
    if (phrase.corrected) {
      const restore = element("button", { type: "button", className: "restore", textContent: "Undo" });
      restore.setAttribute("aria-label", `Undo the correction of the phrase at ${short(phrase.start)}`);
      item.append(restore);
    }
  }

  // The elements of all words, in order.
  words() {
    this.known ??= [...this.list.querySelectorAll(".word")];
    return this.known;
  }

  // Marks the word that is heard at these seconds; null: none.
  follow(seconds) {
    const heard = ({ word }) => word.start <= seconds && seconds < word.end;
    const spoken = (seconds !== null && this.words().find(heard)) || null;
    if (spoken === this.spoken) return;
    this.spoken?.classList.remove("spoken");
    spoken?.classList.add("spoken");
    if (spoken) this.chosen = null; // it was heard
    if (spoken && this.spoken && inSight(this.spoken)) {
      spoken.closest("li").scrollIntoView({ block: "nearest" }); // whoever reads along keeps on doing so
    }
    this.spoken = spoken;
  }

  clicked(event) {
    const item = event.target.closest("li");
    if (!item) return;
    if (event.target.closest(".time")) this.player.playFrom(item.phrase.start);
    else if (event.target.closest(".correct")) this.edit(item);
    else if (event.target.closest(".restore")) this.restore(item);
    else if (event.target.closest(".word") && getSelection().isCollapsed) this.hear(event.target.closest(".word"));
  }

  // From this word on; once more on a word that is heard pauses.
  hear(button) {
    if (this.player.playing && (button === this.spoken || button === this.chosen)) {
      this.player.pause();
      return;
    }
    this.chosen = button;
    this.reach(button, { focus: false });
    this.player.playFrom(button.word.start);
  }

  pressed(event) {
    const button = event.target.closest(".word");
    if (!button || event.ctrlKey || event.metaKey || event.altKey) return;
    const item = button.closest("li");
    const steps = {
      ArrowRight: () => this.step(button, 1),
      ArrowLeft: () => this.step(button, -1),
      ArrowDown: () => this.reach(item.nextElementSibling?.querySelector(".word")),
      ArrowUp: () => this.reach(item.previousElementSibling?.querySelector(".word")),
      Home: () => this.reach(item.querySelector(".word")),
      End: () => this.reach([...item.querySelectorAll(".word")].at(-1)),
      Enter: () => this.hear(button),
      " ": () => this.hear(button),
      F2: () => this.edit(item),
      e: () => this.edit(item),
      E: () => this.edit(item),
    };
    if (!Object.hasOwn(steps, event.key)) return;
    event.preventDefault();
    steps[event.key]();
  }

  step(button, by) {
    this.reach(this.words()[this.words().indexOf(button) + by]);
  }

  // Makes it the word of its phrase that Tab goes to, and goes there.
  reach(button, { focus = true } = {}) {
    if (!button) return;
    for (const other of button.parentElement.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    button.tabIndex = 0;
    if (focus) button.focus();
  }

  edit(item) {
    if (!item || item.querySelector("textarea")) return;
    this.player.pause();
    const phrase = item.phrase;
    const field = element("textarea", { value: phrase.text.trim(), rows: 1, spellcheck: true, lang: this.lang, dir: "auto" });
    field.setAttribute("aria-label", `Text of the phrase at ${short(phrase.start)}`);
    const fit = () => {
      field.style.height = "auto";
      field.style.height = `${field.scrollHeight}px`;
    };
    let open = true;
    const close = (keep, goOn) => {
      if (!open) return;
      open = false;
      if (keep) this.onCorrect(this.place(item), field.value);
      else this.fill(item, phrase);
      if (goOn) (item.querySelector(".word") ?? item.querySelector(".correct")).focus();
    };
    field.addEventListener("input", fit);
    field.addEventListener("blur", () => close(true, false));
    field.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") {
        event.stopPropagation(); // does not cancel the work
        close(false, true);
      } else if (event.key === "Enter") {
        event.preventDefault();
        if (!event.ctrlKey && !event.metaKey) close(true, true);
        else if (this.player.playing) this.player.pause();
        else this.player.playFrom(phrase.start);
      }
    });
    this.known = null;
    item.classList.add("open");
    item.querySelector(".text").replaceWith(field);
    field.focus();
    fit();
  }

  restore(item) {
    this.onCorrect(this.place(item), item.phrase.segment.text);
    item.querySelector(".correct").focus();
  }

  place(item) {
    return [...this.list.children].indexOf(item);
  }

  // The phrase at this place, with other words.
  replace(place, phrase) {
    this.fill(this.list.children[place], phrase);
  }
}

function inSight(word) {
  const { top, bottom } = word.getBoundingClientRect();
  return top >= 0 && bottom <= innerHeight;
}

export function element(name, properties = {}) {
  return Object.assign(document.createElement(name), properties);
}
