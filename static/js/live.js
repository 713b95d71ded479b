// Says whether the page is being kept up to date, asks now and then where its stream does not get through,
// and loads it anew when whoever looks may no longer see it.

const PATIENCE_MS = 8_000;
const ASK_EVERY_MS = 15_000;
const RETRY_EVERY = 4;
const GONE = [401, 403, 404, 410];

let asking = null;

function state(element, name) {
  element.dataset.state = name;
}

function stopAsking() {
  clearTimeout(asking);
  asking = null;
}

function startAsking(element, afterMs) {
  if (asking !== null) return;
  let rounds = 0;
  const round = async () => {
    if (!element.isConnected) return stopAsking();
    if (!document.hidden) {
      state(element, "asking");
      await htmx.ajax("GET", element.dataset.poll, { source: element, swap: "none" });
      rounds += 1;
      if (rounds % RETRY_EVERY === 0) htmx.trigger(element, "retry");
    }
    if (asking !== null) asking = setTimeout(round, ASK_EVERY_MS);
  };
  asking = setTimeout(round, afterMs);
}

document.addEventListener("htmx:sse:after:connection", (event) => {
  stopAsking();
  state(event.target, "live");
});

document.addEventListener("over", () => location.reload());

document.addEventListener("htmx:sse:error", (event) => {
  if (GONE.includes(event.detail.status)) return location.reload();
  state(event.target, "waiting");
  startAsking(event.target, PATIENCE_MS);
});

document.addEventListener("htmx:after:request", (event) => {
  const version = event.detail.ctx?.response?.headers?.get("DevFlow-Version");
  const element = document.getElementById("live");
  if (!version || !element) return;
  const address = new URL(element.dataset.poll, location.href);
  address.searchParams.set("poll", version);
  element.dataset.poll = address.pathname + address.search;
});

function begin() {
  const element = document.getElementById("live");
  if (element && !element.dataset.state) {
    state(element, "waiting");
    startAsking(element, PATIENCE_MS);
  }
}

document.addEventListener("htmx:after:swap", begin);
begin();
