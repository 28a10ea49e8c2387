// Runs in the head, before anything is painted: the remembered theme, and a mark that scripts run.
(() => {
  "use strict";
  const root = document.documentElement;
  root.classList.add("js");
  let wanted = "system";
  try { wanted = localStorage.getItem("vgg_viz theme") || "system"; } catch { /* storage may be forbidden */ }
  if (wanted === "light" || wanted === "dark") root.dataset.theme = wanted;
})();
