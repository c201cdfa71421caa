// The page that tests a device: what it has, how an avatar spoke on it, and a report of both.

import "../client/element.js";
import { readFacts } from "./device-facts.js";
import { enter } from "./key.js";
import { speakOnce } from "./trial.js";

const SERVER = new URL("..", import.meta.url).href;
const VERDICTS = {
  good: "Avatars play on this device.",
  limited: "Avatars play on this device, with limits.",
  bad: "Avatars do not play on this device.",
};
const COPIED_MS = 2000;

const report = { facts: [], trial: [], verdict: "not tested yet" };

function byId(id) {
  return document.getElementById(id);
}

function show(list, rows) {
  const entries = rows.flatMap(([name, value]) => {
    const [term, description] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    description.textContent = value;
    return [term, description];
  });
  byId(list).replaceChildren(...entries);
}

function judge({ isSpoken, problems }) {
  const level = !isSpoken ? "bad" : problems.length > 0 ? "limited" : "good";
  const text = [VERDICTS[level], ...problems].join(" ");
  report.verdict = text;
  byId("verdict").dataset.level = level;
  byId("verdict").textContent = text;
}

async function test() {
  const start = byId("start");
  start.disabled = true;
  start.textContent = "Testing…";
  delete byId("verdict").dataset.level;
  byId("verdict").textContent = "The avatar is about to speak.";
  const trial = await speakOnce(SERVER, byId("stage"));
  report.trial = trial.rows;
  show("trial", trial.rows);
  byId("trial").parentElement.hidden = false;
  judge(trial);
  start.disabled = false;
  start.textContent = "Test again";
}

function reportText() {
  const lines = (rows) => rows.map(([name, value]) => `${name}: ${value}`);
  return [
    `musetalk-stream self-test, ${new Date().toISOString()}`,
    `Verdict: ${report.verdict}`,
    "",
    ...lines(report.trial),
    "",
    ...lines(report.facts),
  ].join("\n");
}

async function copy() {
  const text = byId("report");
  text.value = reportText();
  text.hidden = false;
  try {
    await navigator.clipboard.writeText(text.value);
  } catch {
    text.focus(); // not allowed here, or over plain HTTP: the viewer copies what is marked
    text.select();
    return;
  }
  byId("copy").textContent = "Copied";
  setTimeout(() => (byId("copy").textContent = "Copy report"), COPIED_MS);
}

byId("start").addEventListener("click", () => void test());
byId("copy").addEventListener("click", () => void copy());
report.facts = await readFacts(SERVER); // before there is a tap
show("facts", report.facts);
const config = JSON.parse(byId("config").textContent);
if (config.is_closed) await enter();
byId("start").disabled = false;
