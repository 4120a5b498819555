// Keeps the page live: fetches it again and puts its main part in place. Without this script the page is a picture of the
// moment in which it was loaded.
"use strict";
(() => {
  const every = 2000;
  const state = document.getElementById("live");
  const refresh = async () => {
    if (document.hidden) return;
    try {
      const reply = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (!reply.ok) throw new Error("status " + reply.status);
      const next = new DOMParser().parseFromString(await reply.text(), "text/html").querySelector("main");
      const old = document.querySelector("main");
      for (const open of old.querySelectorAll("details[open]")) {
        const same = next.querySelector("#" + CSS.escape(open.id));
        if (same) same.open = true;
      }
      old.replaceWith(next);
      state.textContent = "live";
      state.className = "up";
    } catch (error) {
      state.textContent = "not reached: " + error.message;
      state.className = "down";
    }
  };
  setInterval(refresh, every);
  refresh();
})();
