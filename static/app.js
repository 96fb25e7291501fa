/* Keys, the copy button and following a question: what a page can do beyond links and forms. Everything here is also
   reachable without it. */
"use strict";

const one = (selector) => document.querySelector(selector);

/* Cards and list rows: j and k move the focus along them. */
function move(step) {
  const stops = [...document.querySelectorAll(".card, .rows .row-link, .reverse a")].filter((stop) => stop.offsetParent);
  if (!stops.length) return;
  const here = stops.findIndex((stop) => stop.contains(document.activeElement));
  let to = here + step;
  if (here < 0) {
    const top = stops.findIndex((stop) => stop.getBoundingClientRect().top >= 0);
    to = step > 0 ? Math.max(top, 0) : Math.max(top - 1, 0);
  }
  const stop = stops[Math.min(Math.max(to, 0), stops.length - 1)];
  stop.focus({ preventScroll: true });
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  stop.scrollIntoView({ block: "center", behavior: calm ? "auto" : "smooth" });
}

const follow = (selector) => one(selector)?.click();

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  n: () => follow('a[rel="next"][data-key], .pager a[rel="next"]'),
  p: () => follow('a[rel="prev"]'),
  o: () => follow('.switch[aria-label="Side"] a:not([aria-current])'),
  "/": () => {
    const field = one("#search");
    if (field) field.focus();
    else location.assign("/prompts#search");
  },
  "?": () => one("#keys")?.showModal(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=radio]), select, textarea, [contenteditable]");
  if (event.ctrlKey || event.metaKey || event.altKey || typing || one("dialog[open]")) return;
  const act = window.pageKeys?.[event.key] ?? KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

document.addEventListener("click", async (event) => {
  if (event.target.closest("[data-keys]")) one("#keys")?.showModal();
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const field = document.getElementById(button.dataset.copy);
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    document.execCommand("copy"); /* where the clipboard is closed to pages, as on plain http */
  }
  button.textContent = "Copied";
});

/* A question that is answered leads on to its answer; one that could not be followed is loaded again. */
function arrive() {
  const answer = one("[data-arrive]");
  if (answer) location.replace(answer.href);
}

function loadAgain(event) {
  if (event.target.closest?.("[hx-sse\\:connect]")) setTimeout(() => location.reload(), 5000);
}

document.addEventListener("htmx:after:swap", arrive);
document.addEventListener("htmx:error", loadAgain);
document.addEventListener("htmx:response:error", loadAgain);

function prepare() {
  for (const button of document.querySelectorAll("[data-copy][hidden], [data-keys][hidden]")) button.hidden = false;
  if (location.hash === "#search") one("#search")?.focus();
}

/* Lists that open a prompt keep the focus in the address: a card named behind the # gets it. */
function focusTarget() {
  const card = location.hash.length > 1 ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
  if (card?.classList.contains("card")) card.focus({ preventScroll: true });
}

prepare();
focusTarget();
addEventListener("hashchange", focusTarget);
document.addEventListener("htmx:after:swap", prepare);
