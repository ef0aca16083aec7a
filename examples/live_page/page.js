// The page: a chart fed by a stream, and buttons that call, send, cancel and fail.

import { ContextCancelled, RemoteActorError, reconnecting } from "./tractor.js";
import { Chart } from "./chart.js";

const HUB = "live_market";
const COLOURS = { barley: "#b9862f", oats: "#2f6f62", rye: "#7a4f8b" };

const element = (id) => document.getElementById(id);
const chart = new Chart(element("chart"), element("legend"), COLOURS);

/** The context that streams, null while there is none. */
let watching = null;

// -- the connection --------------------------------------------------------------------------------

const url = new URL("actors", location.href);
url.protocol = url.protocol.replace("http", "ws");

const link = reconnecting(url.href, {
  // Asked for anew each time: the service makes another token when it restarts.
  token: async () => (await (await fetch("session")).json()).token,
  maxDelay: 2000,
});

link.addEventListener("connect", ({ connection }) => opened(connection, "connected"));
link.addEventListener("reconnect", ({ connection }) => opened(connection, "reconnected"));
link.addEventListener("closed", ({ error }) => {
  say("bad", "Connection closed", error?.message);
  show("closed", "closed");
});
link.addEventListener("waiting", ({ delay }) => show("waiting", `next attempt in ${(delay / 1000).toFixed(1)} s`));
link.addEventListener("failed", ({ error }) => {
  say("bad", error.name, error.message);
  show("closed", "gave up");
});

function opened(connection, how) {
  show("open", `${how} to ${connection.peer.name}`);
  say("good", how[0].toUpperCase() + how.slice(1), `${connection.peer.name}, process ${connection.peer.pid}`);
  // What was open before is gone with its connection. To open it again is for the page to decide.
  watch();
}

// -- the stream ------------------------------------------------------------------------------------

async function watch() {
  if (watching) return;
  try {
    const context = (watching = await link.connection.openContext(`${HUB}:watch`));
    update();
    for (const grain of context.started) chart.add(grain);
    for await (const [grain, price] of context.stream) chart.put(grain, price);
    const result = await context.result;
    if (result instanceof ContextCancelled) say("good", "Stream cancelled", "and every actor's part of it has ended");
  } catch (error) {
    if (link.connection) fail(error);
  } finally {
    watching = null;
    update();
  }
}

element("watch").onclick = watch;
element("cancel").onclick = () => watching?.cancel();
element("shock").onclick = () => watching?.stream.send([element("grain").value, -6]);

// -- calls -----------------------------------------------------------------------------------------

element("quote").onclick = () =>
  ask(async (t, grain) => say("good", `${grain}: ${(await t.call(`${HUB}:quote`, { grain })).toFixed(2)}`, "by a call"));
element("inspect").onclick = () => ask((t, grain) => t.call(`${HUB}:inspect`, { grain }));
element("end").onclick = () => ask((t) => t.cancelActor());

async function ask(work) {
  try {
    await work(link.connection, element("grain").value);
  } catch (error) {
    fail(error);
  }
}

// -- what is shown ---------------------------------------------------------------------------------

function fail(error) {
  if (!(error instanceof RemoteActorError)) return say("bad", error.name, error.message);
  const path = [...error.relayPath.map(([name]) => name), "this page"].join(" → ");
  const entry = say("bad", error.sourceType.replace(":", "."), error.message, ...error.notes, `came by ${path}`);
  const details = document.createElement("details");
  details.append(tagged("summary", "traceback"), tagged("pre", error.traceback.trim()));
  entry.append(details);
}

function say(kind, title, ...details) {
  const entry = document.createElement("li");
  entry.className = kind;
  entry.append(tagged("b", title), ...details.filter(Boolean).map((detail) => tagged("small", detail)));
  element("log").prepend(entry);
  while (element("log").children.length > 40) element("log").lastChild.remove();
  return entry;
}

const tagged = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

function show(state, text) {
  element("status").dataset.state = state;
  element("status").textContent = text;
  update();
}

function update() {
  const open = link.connection !== null;
  for (const id of ["quote", "inspect", "end"]) element(id).disabled = !open;
  element("watch").disabled = !open || watching !== null;
  for (const id of ["cancel", "shock"]) element(id).disabled = watching === null;
  element("received").textContent = `${chart.received} values received`;
}

for (const grain of Object.keys(COLOURS)) element("grain").add(new Option(grain));
setInterval(update, 250);
update();
