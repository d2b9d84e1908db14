// The feed: a changed anomaly takes the place of the row it had; a new one is told to who listens.
"use strict";
const MOST = 300;
document.addEventListener("htmx:sseBeforeMessage", (event) => {
  const row = new DOMParser().parseFromString(event.detail.data, "text/html").querySelector("li[id]");
  if (!row) return;
  const known = document.getElementById(row.id);
  if (known) known.remove();
  else document.getElementById("news").textContent = `New anomaly: ${row.querySelector("a").textContent}`;
  document.getElementById("nothing")?.remove();
  const rows = document.querySelectorAll("#feed > li");
  for (let i = MOST; i < rows.length; i += 1) rows[i].remove();
});
