"use strict";
// Times in the reader's zone, buttons that copy code, and everything open when it is printed.

const two = (number) => String(number).padStart(2, "0");
for (const time of document.querySelectorAll("time")) {
  const when = new Date(time.dateTime);
  if (isNaN(when)) continue;
  const day = [when.getFullYear(), two(when.getMonth() + 1), two(when.getDate())].join("-");
  time.title = time.textContent;
  time.textContent = `${day} ${two(when.getHours())}:${two(when.getMinutes())}`;
}

const copied = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // A browser that lets no file use the clipboard still copies what is selected.
    const area = document.createElement("textarea");
    area.className = "copying";
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
};
for (const code of document.querySelectorAll("pre")) {
  const box = document.createElement("div");
  const button = document.createElement("button");
  box.className = "code";
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    button.textContent = (await copied(code.textContent)) ? "Copied" : "Not copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  code.replaceWith(box);
  box.append(code, button);
}

let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const details of closed) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of closed) details.open = false;
});
