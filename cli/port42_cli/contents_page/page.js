"use strict";
// Times in the reader's zone; a field that shows the sessions with all of its words, and where they are.

const two = (number) => String(number).padStart(2, "0");
for (const time of document.querySelectorAll("time")) {
  const when = new Date(time.dateTime);
  if (isNaN(when)) continue;
  const day = [when.getFullYear(), two(when.getMonth() + 1), two(when.getDate())].join("-");
  time.title = time.textContent;
  time.textContent = `${day} ${two(when.getHours())}:${two(when.getMinutes())}`;
}

const AROUND = 80; // characters shown on each side of a hit
const rows = [...document.querySelectorAll("li")].map((row) => ({
  row,
  // What is searched has as many characters as what is shown, which toLowerCase does not promise.
  shown: row.querySelector(".text").textContent,
  searched: [...row.querySelectorAll("a, .facts, .text")].map((part) => lower(part.textContent)),
  snippet: row.querySelector(".snippet"),
}));

function lower(text) {
  return text.replace(/[^]/g, (unit) => (unit.toLowerCase().length === 1 ? unit.toLowerCase() : unit));
}

function showHit(snippet, text, at, length) {
  const mark = document.createElement("mark");
  mark.textContent = text.slice(at, at + length);
  const before = (at > AROUND ? "…" : "") + text.slice(Math.max(0, at - AROUND), at);
  snippet.replaceChildren(before, mark, text.slice(at + length, at + length + AROUND) + "…");
}

function search(query) {
  const words = lower(query).split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { row, shown: text, searched, snippet } of rows) {
    row.hidden = !words.every((word) => searched.some((part) => part.includes(word)));
    shown += !row.hidden;
    const word = words.find((candidate) => searched.at(-1).includes(candidate));
    snippet.hidden = row.hidden || !word;
    if (!snippet.hidden) showHit(snippet, text, searched.at(-1).indexOf(word), word.length);
  }
  document.querySelector("output").textContent = words.length ? `${shown} of ${rows.length}` : "";
}

const field = document.querySelector("input");
field.hidden = false; // without this script there is nothing that it could do
field.value = decodeURIComponent(location.hash.slice(1));
field.addEventListener("input", () => {
  // Whoever comes back from a session, or is sent a link, finds the search as it was.
  history.replaceState(null, "", `#${encodeURIComponent(field.value)}`);
  search(field.value);
});
search(field.value);
