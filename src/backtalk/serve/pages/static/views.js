// Pause updates of a fragment while it has the focus or the page is hidden.
"use strict";

document.addEventListener("htmx:beforeRequest", (event) => {
  const part = event.target.closest("[data-pause-on-focus]");
  if (part && (document.hidden || part.contains(document.activeElement))) event.preventDefault();
});
