// A part of a page that renews itself waits while somebody is in it, or while nobody looks.
"use strict";

document.addEventListener("htmx:beforeRequest", (event) => {
  const part = event.target.closest("[data-quiet]");
  if (part && (document.hidden || part.contains(document.activeElement))) event.preventDefault();
});
