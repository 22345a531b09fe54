// The inbox: keyboard control, ranking by dragging, and marking of spans.
"use strict";

const TYPING = "textarea, select, input:not([type=radio]):not([type=checkbox]):not([type=hidden])";
const announce = (text) => { document.getElementById("announcement").textContent = text; };
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Keys. A form's handlers get a key first; otherwise it presses the button that shows it.
const keyHandlers = [];
let keys = localStorage.getItem("backtalk-keys") !== "off";

function showKeys() {
  document.body.classList.toggle("keyless", !keys);
  for (const button of all("[data-keys]")) button.setAttribute("aria-pressed", String(keys));
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches(TYPING);
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    document.querySelector("[data-submit]")?.click();
    return;
  }
  if (typing && event.key === "Escape") event.target.blur();
  if (!keys || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.repeat && !event.key.startsWith("Arrow")) return;
  if (event.key === "Enter" && event.target.closest("a, button, summary")) return;
  if (keyHandlers.some((handler) => handler(event))) {
    event.preventDefault();
    return;
  }
  const control = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!control || control.offsetParent === null) return;
  event.preventDefault();
  if (control.matches("textarea")) {
    control.focus();
    return;
  }
  control.click();
  if (control.matches("[type=radio]")) document.getElementById("text")?.focus();
});

for (const button of all("[data-keys]")) {
  button.addEventListener("click", () => {
    keys = !keys;
    localStorage.setItem("backtalk-keys", keys ? "on" : "off");
    showKeys();
  });
}
showKeys();

// Submit a form only once.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || !event.target.closest("[data-item]")) return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  for (const form of all("form[data-sent]")) delete form.dataset.sent;
});

// Groups of options: a key answers the current group and moves on to the next.
function setUpChoices() {
  const groups = all("[data-choices]");
  if (!groups.length) return;
  const goTo = (group, { scroll = true } = {}) => {
    for (const each of groups) each.toggleAttribute("data-current", each === group);
    if (scroll) group.scrollIntoView({ block: "nearest" });
  };
  const tally = () => {
    const done = groups.filter((group) => group.querySelector(":checked")).length;
    for (const element of all("[data-tally]")) element.textContent = `${done} of ${groups.length}`;
  };
  const current = () => groups.findIndex((group) => group.hasAttribute("data-current"));
  for (const group of groups) {
    group.addEventListener("focusin", () => goTo(group, { scroll: false }));
    group.addEventListener("change", tally);
  }
  keyHandlers.push((event) => {
    const index = current();
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && !event.target.matches("[type=radio]")) {
      goTo(groups[Math.min(Math.max(index + step, 0), groups.length - 1)]);
      return true;
    }
    const option = groups[index].querySelector(`[data-pick="${CSS.escape(event.key)}"]`);
    if (!option) return false;
    option.checked = true;
    const legend = groups[index].querySelector("legend").textContent.slice(0, 60);
    announce(`${legend}: ${option.value}`);
    tally();
    if (event.target.matches("[type=radio]")) event.target.blur();
    if (index + 1 < groups.length) goTo(groups[index + 1]);
    return true;
  });
  tally();
}

// Ranking: `tiers` holds the cards by rank, best first; the form's fields follow it.
function setUpRanking() {
  const board = document.querySelector("[data-rank]");
  if (!board) return;
  const cards = all("[data-card]", board);
  const list = board.querySelector("[data-tiers]");
  const pile = board.querySelector("[data-pile]");
  let tiers = [];
  const tierOf = (card) => tiers.findIndex((tier) => tier.includes(card));
  const without = (card) =>
    tiers.map((tier) => tier.filter((each) => each !== card)).filter((tier) => tier.length);
  const read = () => {
    const byRank = new Map();
    for (const card of cards) {
      const rank = Number(card.querySelector("input").value);
      if (rank) byRank.set(rank, [...(byRank.get(rank) || []), card]);
    }
    tiers = [...byRank.keys()].sort((a, b) => a - b).map((rank) => byRank.get(rank));
  };
  const show = () => {
    const focused = document.activeElement;
    list.replaceChildren(...tiers.map((tier) => {
      const item = document.createElement("li");
      item.className = tier.length > 1 ? "tier tied" : "tier";
      item.append(...tier);
      return item;
    }));
    pile.append(...cards.filter((card) => tierOf(card) < 0));
    for (const card of cards) {
      const index = tierOf(card);
      card.querySelector("input").value = index < 0 ? "" : index + 1;
    }
    if (board.contains(focused)) (focused.offsetParent ? focused : focused.closest("[data-card]").querySelector("button:not([data-add])")).focus();
  };
  const set = (next, message) => { tiers = next; show(); announce(message); };
  const nameOf = (card) => card.getAttribute("aria-label");
  const moves = {
    up(card, index) {
      const rest = without(card);
      const alone = tiers[index].length === 1;
      rest.splice(alone ? Math.max(index - 1, 0) : index, 0, [card]);
      return rest;
    },
    down(card, index) {
      const rest = without(card);
      rest.splice(Math.min(index + 1, rest.length), 0, [card]);
      return rest;
    },
    tie(card, index) {
      if (index === 0) return tiers;
      const rest = without(card);
      rest[index - 1] = [...rest[index - 1], card];
      return rest;
    },
    remove: (card) => without(card),
  };
  for (const card of cards) {
    card.querySelector("[data-add]").addEventListener("click", () => {
      set([...without(card), [card]], `${nameOf(card)} has rank ${without(card).length + 1}`);
    });
    for (const button of all("[data-move]", card)) {
      button.addEventListener("click", () => {
        set(moves[button.dataset.move](card, tierOf(card)), "");
        announce(tierOf(card) < 0 ? `${nameOf(card)} is not ranked` : `${nameOf(card)} has rank ${tierOf(card) + 1}`);
      });
    }
    makeDraggable(card);
  }
  document.querySelector("[data-tie]").addEventListener("click", () => {
    if (tiers.length < 2) return;
    set([...tiers.slice(0, -2), [...tiers.at(-2), ...tiers.at(-1)]], "The last two are tied");
  });
  document.querySelector("[data-remove-last]").addEventListener("click", () => {
    if (!tiers.length) return;
    const card = tiers.at(-1).at(-1);
    set(without(card), `${nameOf(card)} is not ranked`);
  });

  // Drop target at a point: a tier and a position, null for the pile, undefined for neither.
  function dropTarget(x, y) {
    const element = document.elementFromPoint(x, y);
    if (!element || pile.contains(element)) return null;
    const tier = element.closest(".tier");
    if (tier) {
      const box = tier.getBoundingClientRect();
      const share = (y - box.top) / box.height;
      return { tier, position: share < 0.25 ? "before" : share > 0.75 ? "after" : "onto" };
    }
    const column = list.parentElement.getBoundingClientRect();
    const inside = x >= column.left && x <= column.right && y >= column.top;
    return inside ? { tier: list.lastElementChild, position: "after" } : undefined;
  }
  function makeDraggable(card) {
    const handle = card.querySelector("[data-handle]");
    let from = null;
    const clear = () => {
      for (const tier of list.children) tier.classList.remove("drop-before", "drop-onto", "drop-after");
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
      const target = dropTarget(event.clientX, event.clientY);
      if (target?.tier) target.tier.classList.add(`drop-${target.position}`);
    });
    const end = (event) => {
      if (!from) return;
      const target = event.type === "pointerup" ? dropTarget(event.clientX, event.clientY) : undefined;
      const targetTier = target?.tier && tiers[[...list.children].indexOf(target.tier)];
      from = null;
      clear();
      card.classList.remove("dragging");
      card.style.transform = "";
      if (target === undefined) return;
      const rest = without(card);
      if (target === null) { set(rest, `${nameOf(card)} is not ranked`); return; }
      // A card dropped on its own tier, which it had alone, has no target tier in `rest`.
      let index = targetTier ? rest.findIndex((tier) => tier.some((each) => targetTier.includes(each))) : -1;
      if (index < 0) {
        index = targetTier ? tiers.indexOf(targetTier) : rest.length;
        rest.splice(index, 0, [card]);
      } else if (target.position === "onto") rest[index].push(card);
      else rest.splice(target.position === "before" ? index : index + 1, 0, [card]);
      set(rest, `${nameOf(card)} has rank ${rest.findIndex((tier) => tier.includes(card)) + 1}`);
    };
    handle.addEventListener("pointerup", end);
    handle.addEventListener("pointercancel", end);
  }
  board.classList.add("ready");
  read();
  show();
}

// Marking: offsets count code points, as in the records, not the UTF-16 units of JavaScript.
function setUpMarking() {
  const box = document.querySelector("[data-spans]");
  if (!box) return;
  const text = box.querySelector("[data-text]");
  const tokens = all("[data-start]", text);
  const words = tokens.filter((token) => "word" in token.dataset);
  const list = document.querySelector("[data-marks]");
  const placeholder = list.querySelector("[data-none]");
  const lengthOf = (string) => [...string].length;
  const startOf = (token) => Number(token.dataset.start);
  const endOf = (token) => startOf(token) + lengthOf(token.textContent);
  let marks = [];
  let anchor = 0;
  let caret = 0;
  let active = false;

  const currentSpan = () => selectedSpan() || (active && words.length
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
  function selectedSpan() {
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
    const span = active ? currentSpan() : null;
    for (const token of tokens) {
      const [start, end] = [startOf(token), endOf(token)];
      const overlaps = (each) => each && each.start < end && start < each.end;
      token.classList.toggle("marked", marks.some(overlaps));
      token.classList.toggle("selected", Boolean(overlaps(span)) && anchor !== caret);
      token.classList.toggle("cursor", active && token === words[caret]);
    }
    list.replaceChildren(...(marks.length ? marks.map(makeItem) : [placeholder]));
  }
  function makeItem(mark) {
    const row = document.createElement("li");
    const label = Object.assign(document.createElement("span"), { className: "tag bad", textContent: mark.name });
    const quote = Object.assign(document.createElement("q"), { textContent: textOf(mark) });
    const remove = Object.assign(document.createElement("button"), { type: "button", className: "plain", textContent: "✕" });
    remove.setAttribute("aria-label", `Remove the mark ${mark.name} on ${textOf(mark)}`);
    remove.addEventListener("click", () => { marks = marks.filter((each) => each !== mark); show(); });
    const field = Object.assign(document.createElement("input"), { type: "hidden", name: "span", value: `${mark.start}:${mark.end}:${mark.label}` });
    row.append(label, quote, remove, field);
    return row;
  }
  for (const button of all("[data-label]")) {
    // Otherwise the selection is lost before the click.
    button.addEventListener("pointerdown", (event) => event.preventDefault());
    button.addEventListener("click", () => {
      const span = currentSpan();
      if (!span) { announce("Select text first"); return; }
      const mark = { ...span, label: Number(button.dataset.label), name: button.dataset.name };
      marks = marks.filter((each) => each.start !== mark.start || each.end !== mark.end);
      marks = [...marks, mark].sort((a, b) => a.start - b.start || a.end - b.end);
      getSelection().removeAllRanges();
      anchor = caret;
      show();
      announce(`${textOf(mark)}: ${mark.name}`);
    });
  }
  keyHandlers.push((event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step && words.length) {
      caret = active ? Math.min(Math.max(caret + step, 0), words.length - 1) : 0;
      if (!event.shiftKey || !active) anchor = caret;
      active = true;
      getSelection().removeAllRanges();
      show();
      words[caret].scrollIntoView({ block: "nearest" });
      announce(textOf(currentSpan()));
      return true;
    }
    if (event.key === "Backspace" && active) {
      const offset = startOf(words[caret]);
      marks = marks.filter((mark) => !(mark.start <= offset && offset < mark.end));
      show();
      return true;
    }
    return false;
  });
  box.addEventListener("pointerdown", () => { active = false; show(); });
}

// The form of a task shows the fields of the chosen kind.
function setUpTaskForm() {
  const form = document.querySelector("[data-task-form]");
  if (!form) return;
  const kind = form.querySelector("[name=kind]");
  const show = () => {
    for (const part of all("[data-for-kind]", form)) part.hidden = part.dataset.forKind !== kind.value;
  };
  kind.addEventListener("change", show);
  show();
}

function setUpRuleScope() {
  const only = document.querySelector("[data-rule-only]");
  if (!only) return;
  const show = () => { only.hidden = !document.querySelector("[name=as][value=rule]").checked; };
  for (const radio of all("[name=as]")) radio.addEventListener("change", show);
  show();
}

setUpChoices();
setUpRanking();
setUpMarking();
setUpTaskForm();
setUpRuleScope();
