// The transcript on the page: words that can be heard, phrases that can be edited.
//
// Words are plain text for the mouse, so that they can be selected. With Tab each phrase's time is reached, and from
// there the arrows go through the words; a word can have the focus only as long as it has it.

import { element } from "./dom.js";
import { short } from "./player.js";

const UNSURE = 0.5; // a word that was decoded with less probability is marked

export class Phrases {
  // player: what plays. on.edit is told the place of a phrase and its new text, on.undo the place.
  constructor(list, player, on) {
    this.list = list;
    this.player = player;
    this.on = on;
    this.shown = null; // the array that is shown
    this.fixed = false; // not to be edited
    this.lang = ""; // of the text, for screen readers and hyphenation; a code
    this.known = null; // what words() found
    this.spoken = null; // the element of the word that is heard
    this.asked = null; // the word that was asked for last
    list.addEventListener("click", (event) => this.clicked(event));
    list.addEventListener("dblclick", (event) => this.edit(event.target.closest("li"), event.target.closest(".word")));
    list.addEventListener("keydown", (event) => this.pressed(event));
    list.addEventListener("focusout", ({ target }) => {
      if (target !== document.activeElement && target.matches(".word")) target.removeAttribute("tabindex");
    });
    list.addEventListener("copy", (event) => {
      if (event.target.closest("textarea")) return;
      event.preventDefault();
      event.clipboardData.setData("text/plain", String(getSelection()).replace(/\s*\n\s*/g, "\n").trim());
    });
  }

  // Shows these; of those that are shown already only what was added.
  show(phrases, lang, fixed) {
    this.lang = lang;
    this.fixed = fixed;
    this.list.classList.toggle("fixed", Boolean(fixed));
    if (this.shown !== phrases) this.list.replaceChildren();
    this.shown = phrases;
    const added = phrases.slice(this.list.children.length).map((phrase) => {
      const item = element("li");
      this.fill(item, phrase);
      return item;
    });
    this.list.append(...added);
  }

  fill(item, phrase) {
    this.known = null;
    item.phrase = phrase;
    item.classList.remove("open");
    const at = short(phrase.start);
    const text = element("p", { className: "text", lang: this.lang, dir: "auto" });
    for (const word of phrase.words) {
      const body = word.word.trim();
      if (!body) continue;
      const space = text.hasChildNodes() && /^\s/.test(word.word) ? " " : "";
      const button = element("span", { className: "word", textContent: body });
      button.setAttribute("role", "button");
      button.word = word;
      if (word.probability !== null && word.probability < UNSURE) {
        button.classList.add("unsure");
        button.title = `${Math.round(100 * word.probability)} % sure`;
      }
      text.append(space, button);
    }
    const time = element("button", { type: "button", className: "time", textContent: at });
    time.setAttribute("aria-label", `Play from ${at}`);
    const edit = element("button", { type: "button", className: "edit", textContent: "Edit" });
    edit.setAttribute("aria-label", `Edit the phrase at ${at}`);
    item.replaceChildren(time, text, edit);
    if (phrase.before) {
      const undo = element("button", { type: "button", className: "undo", textContent: "Undo" });
      undo.setAttribute("aria-label", `Undo the last edit of the phrase at ${at}`);
      item.append(undo);
    }
  }

  // Saves what is edited.
  leave() {
    if (this.list.contains(document.activeElement)) document.activeElement.blur();
  }

  // The elements of all words, in order.
  words() {
    this.known ??= [...this.list.querySelectorAll(".word")];
    return this.known;
  }

  // Whether somebody reads, selects or edits here, so that it should stay where it is.
  get inUse() {
    const selection = getSelection();
    const selected = !selection.isCollapsed && selection.containsNode(this.list, true);
    return selected || this.player.playing || this.list.contains(document.activeElement);
  }

  // Marks the word that is heard at these seconds; null: none.
  follow(seconds) {
    const heard = ({ word }) => word.start <= seconds && seconds < word.end;
    const spoken = (seconds !== null && this.words().find(heard)) || null;
    if (spoken === this.spoken) return;
    this.spoken?.classList.remove("spoken");
    spoken?.classList.add("spoken");
    if (spoken) this.asked = null; // it was heard
    const editing = this.list.querySelector(".open");
    if (spoken && this.spoken && !editing && inSight(this.spoken)) {
      spoken.closest("li").scrollIntoView({ block: "nearest" }); // whoever reads along keeps on doing so
    }
    this.spoken = spoken;
  }

  clicked(event) {
    const item = event.target.closest("li");
    const word = event.target.closest(".word");
    if (event.target.closest(".time")) this.player.playFrom(item.phrase.start);
    else if (event.target.closest(".edit")) this.edit(item);
    else if (event.target.closest(".undo")) this.undo(item);
    else if (word && getSelection().isCollapsed) this.hear(word);
  }

  // From this word on; once more on a word that is heard pauses.
  hear(word) {
    if (this.player.playing && (word === this.spoken || word === this.asked)) {
      this.player.pause();
      return;
    }
    this.asked = word;
    this.player.playFrom(word.word.start);
  }

  pressed(event) {
    const item = event.target.closest("li");
    const word = event.target.closest(".word");
    if (!(word || event.target.closest(".time")) || event.ctrlKey || event.metaKey || event.altKey) return;
    const words = [...item.querySelectorAll(".word")];
    const onward = getComputedStyle(item.querySelector(".text")).direction === "rtl" ? -1 : 1;
    const beside = (other) => (word ? reach(other?.querySelector(".word")) : other?.querySelector(".time").focus());
    const steps = {
      ArrowRight: () => reach(word ? this.after(word, onward) : words[0]),
      ArrowLeft: () => reach(word ? this.after(word, -onward) : words[0]),
      ArrowDown: () => beside(item.nextElementSibling),
      ArrowUp: () => beside(item.previousElementSibling),
      Home: () => reach(words[0]),
      End: () => reach(words.at(-1)),
      F2: () => this.edit(item, word),
      e: () => this.edit(item, word),
      E: () => this.edit(item, word),
    };
    if (word) steps.Enter = () => this.hear(word);
    if (!Object.hasOwn(steps, event.key)) return;
    event.preventDefault();
    steps[event.key]();
  }

  after(word, by) {
    return this.words()[this.words().indexOf(word) + by];
  }

  // Opens a phrase, with this word selected.
  edit(item, word = null) {
    if (this.fixed || !item || item.querySelector("textarea")) return;
    this.player.pause();
    const phrase = item.phrase;
    const before = phrase.text.trim();
    const field = element("textarea", { value: before, rows: 1, spellcheck: true, lang: this.lang, dir: "auto" });
    field.setAttribute("aria-label", `Text of the phrase at ${short(phrase.start)}`);
    const fit = () => {
      field.style.height = "auto";
      field.style.height = `${field.scrollHeight}px`;
    };
    let open = true;
    const close = (keep, goOn) => {
      if (!open) return;
      open = false;
      if (keep) this.on.edit(this.place(item), field.value);
      else this.fill(item, phrase);
      if (goOn) this.focus(item);
    };
    field.addEventListener("input", fit);
    field.addEventListener("blur", () => {
      if (document.activeElement !== field) close(true, false); // else the window lost the focus
    });
    field.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") {
        if (field.value.trim() === before || confirm("Discard what you typed?")) close(false, true);
        else field.focus();
      } else if (event.key === "Enter") {
        event.preventDefault();
        if (!event.ctrlKey && !event.metaKey) close(true, true);
        else if (this.player.playing) this.player.pause();
        else this.player.playFrom(phrase.start, phrase.end);
      }
    });
    const selected = word && range(before, [...item.querySelectorAll(".word")], word);
    this.known = null;
    item.classList.add("open");
    item.querySelector(".text").replaceWith(field);
    field.focus();
    if (selected) field.setSelectionRange(...selected);
    fit();
  }

  undo(item) {
    this.on.undo(this.place(item));
    this.focus(item);
  }

  focus(item) {
    const word = item.querySelector(".word");
    if (word) reach(word);
    else item.querySelector(".edit").focus();
  }

  place(item) {
    return [...this.list.children].indexOf(item);
  }

  // The phrase at this place, with other words.
  replace(place, phrase) {
    this.fill(this.list.children[place], phrase);
  }
}

// Gives a word the focus.
function reach(word) {
  if (!word) return;
  word.tabIndex = -1;
  word.focus();
}

// Where the word stands in the text of its phrase.
function range(text, words, word) {
  let end = 0;
  for (const { textContent } of words.slice(0, words.indexOf(word))) {
    end = text.indexOf(textContent, end) + textContent.length;
  }
  const start = text.indexOf(word.textContent, end);
  return [start, start + word.textContent.length];
}

function inSight(word) {
  const { top, bottom } = word.getBoundingClientRect();
  return top >= 0 && bottom <= innerHeight;
}
