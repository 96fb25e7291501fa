/* Judging passages by keyboard, and keeping what was typed until it is saved. Everything here is also reachable
   without it: the forms are plain ones. */
"use strict";

const visible = (element) => Boolean(element?.offsetParent);
const form = () => {
  const within = document.activeElement?.closest("form.judgement, .card");
  const near = within?.matches("form") ? within : within?.querySelector("form.judgement");
  return near || [...document.querySelectorAll("form.judgement")].find(visible);
};

/* Drafts: what a form holds, by what it judges, until the server has it. */
const store = {
  key: (of) => `draft ${of.dataset.draft}`,
  read(of) {
    try {
      return JSON.parse(localStorage.getItem(this.key(of)));
    } catch {
      return null; /* closed to pages, or not ours */
    }
  },
  write(of) {
    try {
      localStorage.setItem(this.key(of), JSON.stringify(held(of)));
    } catch {
      /* full or closed: the form itself still holds it */
    }
  },
  drop(of) {
    try {
      localStorage.removeItem(this.key(of));
    } catch {
      /* nothing was kept */
    }
  },
};
const KEPT = ["label", "quote", "prefix", "suffix", "note", "version"];
const held = (of) => Object.fromEntries(KEPT.map((name) => [name, of.elements[name]?.value ?? ""]));

function restore(of) {
  if (of.dataset.restored) return;
  of.dataset.restored = "yes";
  const shown = held(of), kept = store.read(of);
  if (!kept || KEPT.every((name) => kept[name] === shown[name])) return;
  for (const name of KEPT.filter((name) => name !== "version")) {
    const field = of.elements[name];
    if (field instanceof RadioNodeList) {
      for (const radio of field) radio.checked = radio.value === kept[name];
    } else if (field) field.value = kept[name];
  }
  say(of, "What you typed before, and did not save, is here again.");
}

function say(of, text) {
  const place = of.querySelector("[data-unsaved]");
  if (!place) return;
  place.textContent = text;
  place.hidden = !text;
}

/* The words that are selected in the passage that a form judges, with what stands around them. */
function take(of) {
  const selection = getSelection();
  const home = of.closest(".card, main").querySelector("[data-quotable], .passage");
  if (!home || !selection.rangeCount || selection.isCollapsed) return false;
  const range = selection.getRangeAt(0);
  if (!home.contains(range.commonAncestorContainer)) return false;
  const words = (from, at, to, until) => {
    const part = document.createRange();
    part.setStart(from, at);
    part.setEnd(to, until);
    const copy = part.cloneContents();
    for (const unseen of copy.querySelectorAll(".unseen")) unseen.remove();
    return copy.textContent;
  };
  of.elements.quote.value = words(range.startContainer, range.startOffset, range.endContainer, range.endOffset);
  of.elements.prefix.value = words(home, 0, range.startContainer, range.startOffset).slice(-32);
  of.elements.suffix.value = words(range.endContainer, range.endOffset, home, home.childNodes.length).slice(0, 32);
  store.write(of);
  return true;
}

const press = (selector) => document.querySelector(selector)?.click();

window.pageKeys = {
  s: () => {
    const of = form();
    if (of) take(of);
  },
  x: () => press("[data-aside]"),
  u: () => press("[data-undo]"),
  a: () => document.activeElement?.closest(".card")?.querySelector("[data-annotate]")?.click(),
};
for (const digit of "1234567") {
  window.pageKeys[digit] = () => {
    const choice = form()?.querySelector(`[data-digit="${digit}"]`);
    if (!choice) return;
    choice.checked = true;
    choice.focus();
    choice.dispatchEvent(new Event("input", { bubbles: true }));
  };
}
if (document.querySelector("#item")) {
  window.pageKeys.j = () => press("[data-behind]");
  window.pageKeys.k = () => press("[data-before]");
  window.pageKeys["/"] = () => form()?.querySelector("[data-note]")?.focus();
  window.pageKeys.o = window.pageKeys.n = window.pageKeys.p = () => {};
}

document.addEventListener("keydown", (event) => {
  const of = event.target.closest?.("form.judgement");
  if (!of) {
    const nowhere = event.target.matches?.("body, main, h1"); /* a label was chosen, and the focus moved on since */
    const chosen = document.querySelector("#judgement:has([name=label]:checked)");
    if (event.key === "Enter" && nowhere && chosen) chosen.requestSubmit(chosen.querySelector('[value="save"]'));
    return;
  }
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    of.requestSubmit();
  } else if (event.key === "Escape") {
    event.target.blur();
  } else if (event.key === "Enter" && event.target.type === "radio") {
    event.preventDefault();
    of.requestSubmit(of.querySelector('[name="act"][value="save"], .button'));
  }
});

document.addEventListener("input", (event) => {
  const of = event.target.closest?.("form.judgement");
  if (!of) return;
  if (event.target.name === "quote") of.elements.prefix.value = of.elements.suffix.value = "";
  store.write(of);
});

document.addEventListener("click", (event) => {
  const of = event.target.closest("form.judgement");
  if (event.target.closest("[data-take]") && !take(of)) say(of, "Select some words of the passage first.");
  if (event.target.closest("[data-cancel]")) store.drop(of);
});
/* A button takes the selection away before its click. */
document.addEventListener("mousedown", (event) => {
  if (event.target.closest("[data-take]")) event.preventDefault();
});

/* What the server has taken needs no draft; what it has not stays, in the form and in the draft. */
let sent = null;
document.addEventListener("htmx:before:request", (event) => {
  if (event.target.matches?.("form.judgement")) sent = event.target;
});
document.addEventListener("htmx:after:request", (event) => {
  const answer = event.detail.ctx?.response;
  if (event.target === sent && answer && answer.status < 400) store.drop(sent);
});
const REASONS = {
  401: "You are signed out. Sign in in another window, then save again.",
  403: "This is not yours to do any more.",
  409: "This has changed meanwhile, or somebody was quicker. Load the page again.",
  429: "That was too quick. Wait a moment, then save again.",
};
function unreachable(event) {
  const status = event.detail.ctx?.response?.status;
  if (status === 422 || (status === 409 && event.target.matches("form.judgement"))) return; /* the answer says it */
  const place = document.querySelector("[data-unreachable]");
  if (!place) return;
  const why = REASONS[status] || (status ? "The server could not do it." : "The server cannot be reached.");
  place.textContent = `Not saved. ${why} What you typed is kept in this browser.`;
  place.hidden = false;
}
document.addEventListener("htmx:response:error", unreachable);
document.addEventListener("htmx:error", unreachable);

function begin() {
  for (const of of document.querySelectorAll("form.judgement")) restore(of);
  for (const button of document.querySelectorAll("[data-take][hidden]")) button.hidden = false;
}
document.addEventListener("htmx:after:swap", (event) => {
  begin();
  const status = event.detail.ctx?.response?.status;
  const place = document.querySelector("[data-unreachable]");
  if (place && status < 400) place.hidden = true;
  const heading = document.querySelector("#item h1");
  if (document.activeElement?.matches("[name=label]:checked")) return; /* somebody was quicker than the page */
  if (heading && status < 400) {
    heading.focus({ preventScroll: true });
    scrollTo(0, 0);
  } else document.querySelector("form.judgement:not([id]) input[type=radio]")?.focus();
});
begin();
