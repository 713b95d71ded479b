// Says the numbers of the bar that is pointed at, in the line above its chart.

let shown = null;

function show(slot) {
  if (slot === shown) return;
  shown?.ownerDocument.querySelectorAll("[data-readout][data-text]").forEach((line) => {
    delete line.dataset.text;
  });
  shown = slot;
  const line = slot?.closest("section").querySelector("[data-readout]");
  if (line) line.dataset.text = slot.querySelector("title").textContent;
}

document.addEventListener("pointerover", (event) => show(event.target.closest?.(".slot") ?? null));
