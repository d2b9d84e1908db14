// Dropping a file onto the form, and how much of it was sent. Without this script the form works as any other.
"use strict";
for (const form of document.querySelectorAll("[data-upload]")) {
  const drop = form.querySelector("[data-drop]");
  const file = form.querySelector("input[type=file]");
  const sent = form.querySelector("[data-sent]");
  const over = (event, is) => { event.preventDefault(); drop.classList.toggle("over", is); };
  drop.addEventListener("dragover", (event) => over(event, true));
  drop.addEventListener("dragleave", (event) => over(event, false));
  drop.addEventListener("drop", (event) => {
    over(event, false);
    if (event.dataTransfer.files.length) file.files = event.dataTransfer.files;
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.upload.addEventListener("progress", (said) => {
      sent.hidden = false;
      if (said.lengthComputable) sent.value = (100 * said.loaded) / said.total;
    });
    request.addEventListener("load", () => {
      if (request.status < 400) { window.location.assign(request.responseURL); return; }
      const page = new DOMParser().parseFromString(request.responseText, "text/html");
      document.querySelector("main").replaceWith(page.querySelector("main"));
      document.querySelector("main").focus();
      for (const script of [...document.querySelectorAll("script[src*='upload.js']")]) {
        const again = document.createElement("script");
        again.src = script.src;
        script.replaceWith(again);
      }
    });
    request.addEventListener("error", () => { sent.hidden = true; form.submit(); });
    request.send(new FormData(form));
  });
}
