// A transcript in phrases, and what an edit does to the times of the words.
//
// A phrase: { start, end, text, words: [{ start, end, word, probability }], segment, corrected, before }. Seconds; a
// word keeps the space before it; probability is null for a word that a person wrote. segment is what the server sent;
// corrected: the text is another one; before: the phrase that an edit made this one of.

export function phraseOf(segment) {
  const whole = [{ start: segment.start, end: segment.end, word: segment.text, probability: null }];
  const words = segment.words?.length ? segment.words : whole;
  return { start: segment.start, end: segment.end, text: segment.text, words, segment, corrected: false };
}

// The phrase with another text; the same one, if it has that text. Words that stay keep their times; new ones share
// the time of those they replace. `before` of what it returns is the phrase that was edited.
export function edited(phrase, text) {
  const indent = /^\s/.test(phrase.segment.text) ? " " : "";
  const plain = text.replace(/\s+/g, " ").trim();
  const whole = plain && indent + plain;
  if (whole.trim() === phrase.text.trim()) return phrase;
  const heard = phraseOf(phrase.segment);
  if (whole.trim() === heard.text.trim()) return { ...heard, before: phrase };
  // From what was heard, not from the last edit: times do not drift from one edit to the next.
  return { ...heard, text: whole, words: retimed(heard.words, whole), corrected: true, before: phrase };
}

export function retimed(words, text) {
  const tokens = cut(text, words);
  const kept = common(words.map((word) => word.word.trim()), tokens.map((token) => token.trim()));
  const result = [];
  let oldAt = 0;
  let newAt = 0;
  for (const [oldKept, newKept] of [...kept, [words.length, tokens.length]]) {
    result.push(...filled(words.slice(oldAt, oldKept), tokens.slice(newAt, newKept), result, words[oldKept]));
    if (oldKept < words.length) result.push({ ...words[oldKept], word: tokens[newKept] });
    oldAt = oldKept + 1;
    newAt = newKept + 1;
  }
  return result;
}

// New words in the place of old ones. Between two words that are kept there may be no time at all: new words then
// take half of the time of the word before them. `done` holds the words before; its last one may become shorter.
function filled(old, tokens, done, next) {
  if (!tokens.length) return [];
  if (old.length === tokens.length) {
    return tokens.map((word, i) => ({ start: old[i].start, end: old[i].end, word, probability: null }));
  }
  if (old.length) return spread(tokens, old[0].start, old.at(-1).end);
  const before = done.at(-1);
  if (!before) return spread(tokens, next.start, next.start);
  const middle = (before.start + before.end) / 2;
  const end = before.end;
  done[done.length - 1] = { ...before, end: middle };
  return spread(tokens, middle, end);
}

// By their lengths.
function spread(tokens, start, end) {
  const letters = tokens.reduce((sum, token) => sum + token.trim().length, 0);
  let at = start;
  return tokens.map((word) => {
    const from = at;
    at += ((end - start) * word.trim().length) / letters;
    return { start: from, end: at, word, probability: null };
  });
}

// At spaces, or where the language writes none, as Whisper cuts it: at every character.
function cut(text, words) {
  const spaces = words.length < 2 || words.slice(1).some((word) => /^\s/.test(word.word));
  if (spaces) return text.match(/\s*\S+/g) ?? [];
  return [...new Intl.Segmenter().segment(text)].map((part) => part.segment);
}

// Pairs of places in a and b: their longest common subsequence.
function common(a, b) {
  const longest = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      longest[i][j] = a[i] === b[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const pairs = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) pairs.push([i++, j++]);
    else if (longest[i + 1][j] >= longest[i][j + 1]) i++;
    else j++;
  }
  return pairs;
}
