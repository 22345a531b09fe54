// Keys for everything, dragging answers into an order, marking stretches of text.
"use strict";

const TYPING = "textarea, select, input:not([type=radio]):not([type=checkbox]):not([type=hidden])";
const says = (text) => { document.getElementById("announcement").textContent = text; };
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Keys. Each way to answer may take a key first; what is left presses the button that shows it.
const takers = [];
let keys = localStorage.getItem("backtalk-keys") !== "off";

function showKeys() {
  document.body.classList.toggle("keyless", !keys);
  for (const button of all("[data-keys]")) button.setAttribute("aria-pressed", String(keys));
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches(TYPING);
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    document.querySelector("[data-send]")?.click();
    return;
  }
  if (typing && event.key === "Escape") event.target.blur();
  if (!keys || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.repeat && !event.key.startsWith("Arrow")) return;
  if (event.key === "Enter" && event.target.closest("a, button, summary")) return;
  if (takers.some((taker) => taker(event))) {
    event.preventDefault();
    return;
  }
  const found = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!found || found.offsetParent === null) return;
  event.preventDefault();
  if (found.matches("textarea")) {
    found.focus();
    return;
  }
  found.click();
  if (found.matches("[type=radio]")) document.getElementById("text")?.focus();
});

for (const button of all("[data-keys]")) {
  button.addEventListener("click", () => {
    keys = !keys;
    localStorage.setItem("backtalk-keys", keys ? "on" : "off");
    showKeys();
  });
}
showKeys();

// A form is sent once.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || !event.target.closest("[data-item]")) return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  for (const form of all("form[data-sent]")) delete form.dataset.sent;
});

// Several choices, one after the other: a key answers the present one and goes on.
function choices() {
  const groups = all("[data-choices]");
  if (!groups.length) return;
  const goTo = (group, { quietly = false } = {}) => {
    for (const other of groups) other.toggleAttribute("data-current", other === group);
    if (!quietly) group.scrollIntoView({ block: "nearest" });
  };
  const tally = () => {
    const done = groups.filter((group) => group.querySelector(":checked")).length;
    for (const place of all("[data-tally]")) place.textContent = `${done} of ${groups.length}`;
  };
  const current = () => groups.findIndex((group) => group.hasAttribute("data-current"));
  for (const group of groups) {
    group.addEventListener("focusin", () => goTo(group, { quietly: true }));
    group.addEventListener("change", tally);
  }
  takers.push((event) => {
    const at = current();
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && !event.target.matches("[type=radio]")) {
      goTo(groups[Math.min(Math.max(at + step, 0), groups.length - 1)]);
      return true;
    }
    const option = groups[at].querySelector(`[data-pick="${CSS.escape(event.key)}"]`);
    if (!option) return false;
    option.checked = true;
    const legend = groups[at].querySelector("legend").textContent.slice(0, 60);
    says(`${legend}: ${option.value}`);
    tally();
    if (event.target.matches("[type=radio]")) event.target.blur();
    if (at + 1 < groups.length) goTo(groups[at + 1]);
    return true;
  });
  tally();
}

// Ranking: `tiers` holds the answers' numbers, best first; the form's fields follow it.
function ranking() {
  const board = document.querySelector("[data-rank]");
  if (!board) return;
  const cards = all("[data-card]", board);
  const list = board.querySelector("[data-tiers]");
  const pile = board.querySelector("[data-pile]");
  let tiers = [];
  const tierOf = (card) => tiers.findIndex((tier) => tier.includes(card));
  const without = (card) =>
    tiers.map((tier) => tier.filter((other) => other !== card)).filter((tier) => tier.length);
  const read = () => {
    const places = new Map();
    for (const card of cards) {
      const place = Number(card.querySelector("input").value);
      if (place) places.set(place, [...(places.get(place) || []), card]);
    }
    tiers = [...places.keys()].sort((a, b) => a - b).map((place) => places.get(place));
  };
  const show = () => {
    const focused = document.activeElement;
    list.replaceChildren(...tiers.map((tier) => {
      const place = document.createElement("li");
      place.className = tier.length > 1 ? "tier several" : "tier";
      place.append(...tier);
      return place;
    }));
    pile.append(...cards.filter((card) => tierOf(card) < 0));
    for (const card of cards) {
      const at = tierOf(card);
      card.querySelector("input").value = at < 0 ? "" : at + 1;
    }
    if (board.contains(focused)) (focused.offsetParent ? focused : focused.closest("[data-card]").querySelector("button:not([data-put])")).focus();
  };
  const set = (next, words) => { tiers = next; show(); says(words); };
  const nameOf = (card) => card.getAttribute("aria-label");
  const moves = {
    up(card, at) {
      const rest = without(card);
      const alone = tiers[at].length === 1;
      rest.splice(alone ? Math.max(at - 1, 0) : at, 0, [card]);
      return rest;
    },
    down(card, at) {
      const rest = without(card);
      rest.splice(Math.min(at + 1, rest.length), 0, [card]);
      return rest;
    },
    tie(card, at) {
      if (at === 0) return tiers;
      const rest = without(card);
      rest[at - 1] = [...rest[at - 1], card];
      return rest;
    },
    out: (card) => without(card),
  };
  for (const card of cards) {
    card.querySelector("[data-put]").addEventListener("click", () => {
      set([...without(card), [card]], `${nameOf(card)} is in place ${without(card).length + 1}`);
    });
    for (const button of all("[data-move]", card)) {
      button.addEventListener("click", () => {
        set(moves[button.dataset.move](card, tierOf(card)), "");
        says(tierOf(card) < 0 ? `${nameOf(card)} is not ranked` : `${nameOf(card)} is in place ${tierOf(card) + 1}`);
      });
    }
    draggable(card);
  }
  document.querySelector("[data-tie]").addEventListener("click", () => {
    if (tiers.length < 2) return;
    set([...tiers.slice(0, -2), [...tiers.at(-2), ...tiers.at(-1)]], "The last two are tied");
  });
  document.querySelector("[data-back]").addEventListener("click", () => {
    if (!tiers.length) return;
    const card = tiers.at(-1).at(-1);
    set(without(card), `${nameOf(card)} is not ranked`);
  });

  // Where a dragged answer would land: [tier, "before" | "onto" | "after"], or the pile.
  function landing(x, y) {
    const under = document.elementFromPoint(x, y);
    if (!under || pile.contains(under)) return null;
    const place = under.closest(".tier");
    if (place) {
      const box = place.getBoundingClientRect();
      const share = (y - box.top) / box.height;
      return { place, how: share < 0.25 ? "before" : share > 0.75 ? "after" : "onto" };
    }
    const column = list.parentElement.getBoundingClientRect();
    const inside = x >= column.left && x <= column.right && y >= column.top;
    return inside ? { place: list.lastElementChild, how: "after" } : undefined;
  }
  function draggable(card) {
    const handle = card.querySelector("[data-handle]");
    let from = null;
    const clear = () => {
      for (const place of all(".before, .onto, .after", board)) place.classList.remove("before", "onto", "after");
    };
    handle.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      event.preventDefault();
      from = { x: event.pageX, y: event.pageY };
      handle.setPointerCapture(event.pointerId);
      card.classList.add("dragging");
    });
    handle.addEventListener("pointermove", (event) => {
      if (!from) return;
      card.style.transform = `translate(${event.pageX - from.x}px, ${event.pageY - from.y}px)`;
      clear();
      const to = landing(event.clientX, event.clientY);
      if (to?.place) to.place.classList.add(to.how);
    });
    const end = (event) => {
      if (!from) return;
      const to = event.type === "pointerup" ? landing(event.clientX, event.clientY) : undefined;
      const mark = to?.place && tiers[[...list.children].indexOf(to.place)];
      from = null;
      clear();
      card.classList.remove("dragging");
      card.style.transform = "";
      if (to === undefined) return;
      const rest = without(card);
      if (to === null) { set(rest, `${nameOf(card)} is not ranked`); return; }
      // The tier that it was dropped on, which may have been its own and be gone.
      let at = mark ? rest.findIndex((tier) => tier.some((other) => mark.includes(other))) : -1;
      if (at < 0) {
        at = mark ? tiers.indexOf(mark) : rest.length;
        rest.splice(at, 0, [card]);
      } else if (to.how === "onto") rest[at].push(card);
      else rest.splice(to.how === "before" ? at : at + 1, 0, [card]);
      set(rest, `${nameOf(card)} is in place ${rest.findIndex((tier) => tier.includes(card)) + 1}`);
    };
    handle.addEventListener("pointerup", end);
    handle.addEventListener("pointercancel", end);
  }
  board.classList.add("ready");
  read();
  show();
}

// Marking: offsets count code points, as the records do; a script's strings count other units.
function marking() {
  const box = document.querySelector("[data-spans]");
  if (!box) return;
  const text = box.querySelector("[data-text]");
  const tokens = all("[data-start]", text);
  const words = tokens.filter((token) => "word" in token.dataset);
  const list = document.querySelector("[data-marks]");
  const none = list.querySelector("[data-none]");
  const lengthOf = (string) => [...string].length;
  const startOf = (token) => Number(token.dataset.start);
  const endOf = (token) => startOf(token) + lengthOf(token.textContent);
  let marks = [];
  let anchor = 0;
  let caret = 0;
  let active = false;

  const chosen = () => selected() || (active && words.length
    ? { start: startOf(words[Math.min(anchor, caret)]), end: endOf(words[Math.max(anchor, caret)]) }
    : null);
  function offsetOf(node, offset) {
    if (node.nodeType !== Node.TEXT_NODE) {
      const child = node.childNodes[offset];
      const token = child?.closest?.("[data-start]") || child?.querySelector?.("[data-start]");
      return token ? startOf(token) : endOf(tokens.at(-1));
    }
    return startOf(node.parentElement.closest("[data-start]")) + lengthOf(node.data.slice(0, offset));
  }
  function selected() {
    const selection = getSelection();
    if (selection.isCollapsed || !selection.rangeCount) return null;
    const range = selection.getRangeAt(0);
    if (!text.contains(range.startContainer) || !text.contains(range.endContainer)) return null;
    const start = offsetOf(range.startContainer, range.startOffset);
    const end = offsetOf(range.endContainer, range.endOffset);
    return start < end ? { start, end } : null;
  }
  function textOf({ start, end }) {
    return [...text.textContent].slice(start, end).join("");
  }
  function show() {
    const now = active ? chosen() : null;
    for (const token of tokens) {
      const [start, end] = [startOf(token), endOf(token)];
      const inside = (span) => span && span.start < end && start < span.end;
      token.classList.toggle("marked", marks.some(inside));
      token.classList.toggle("chosen", Boolean(inside(now)) && anchor !== caret);
      token.classList.toggle("at", active && token === words[caret]);
    }
    list.replaceChildren(...(marks.length ? marks.map(item) : [none]));
  }
  function item(mark) {
    const row = document.createElement("li");
    const kind = Object.assign(document.createElement("span"), { className: "tag bad", textContent: mark.name });
    const quote = Object.assign(document.createElement("q"), { textContent: textOf(mark) });
    const away = Object.assign(document.createElement("button"), { type: "button", className: "plain", textContent: "✕" });
    away.setAttribute("aria-label", `Take away the mark ${mark.name} on ${textOf(mark)}`);
    away.addEventListener("click", () => { marks = marks.filter((other) => other !== mark); show(); });
    const field = Object.assign(document.createElement("input"), { type: "hidden", name: "span", value: `${mark.start}:${mark.end}:${mark.label}` });
    row.append(kind, quote, away, field);
    return row;
  }
  for (const button of all("[data-label]")) {
    // The selection would be gone by the time of the click.
    button.addEventListener("pointerdown", (event) => event.preventDefault());
    button.addEventListener("click", () => {
      const span = chosen();
      if (!span) { says("Select text first"); return; }
      const mark = { ...span, label: Number(button.dataset.label), name: button.dataset.name };
      marks = marks.filter((other) => other.start !== mark.start || other.end !== mark.end);
      marks = [...marks, mark].sort((a, b) => a.start - b.start || a.end - b.end);
      getSelection().removeAllRanges();
      anchor = caret;
      show();
      says(`${textOf(mark)}: ${mark.name}`);
    });
  }
  takers.push((event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step && words.length) {
      caret = active ? Math.min(Math.max(caret + step, 0), words.length - 1) : 0;
      if (!event.shiftKey || !active) anchor = caret;
      active = true;
      getSelection().removeAllRanges();
      show();
      words[caret].scrollIntoView({ block: "nearest" });
      says(textOf(chosen()));
      return true;
    }
    if (event.key === "Backspace" && active) {
      const at = startOf(words[caret]);
      marks = marks.filter((mark) => !(mark.start <= at && at < mark.end));
      show();
      return true;
    }
    return false;
  });
  box.addEventListener("pointerdown", () => { active = false; show(); });
}

// What a task's form asks for depends on the way to answer.
function making() {
  const form = document.querySelector("[data-making]");
  if (!form) return;
  const kind = form.querySelector("[name=kind]");
  const show = () => {
    for (const part of all("[data-for]", form)) part.hidden = part.dataset.for !== kind.value;
  };
  kind.addEventListener("change", show);
  show();
}

function rules() {
  const only = document.querySelector("[data-rule-only]");
  if (!only) return;
  const show = () => { only.hidden = !document.querySelector("[name=as][value=rule]").checked; };
  for (const radio of all("[name=as]")) radio.addEventListener("change", show);
  show();
}

choices();
ranking();
marking();
making();
rules();
