// The microphone, spoken while one speaks: raw sound over a WebSocket.

import { Problem } from "../client/api/problem.js";
import { microphoneProblem } from "./sound-input.js";
import { sentence } from "../client/player/words.js";

const WORKLET = new URL("microphone-worklet.js", import.meta.url);
const MAX_BEHIND_BYTES = 1 << 20; // some ten seconds
const GOING_AWAY = 1001; // the session has ended
const FAREWELL_MS = 5000; // that the server has to say what became of it

// To be interrupted; and the end of the session is told by others.
const NO_FAILURES = ["utterance_ended", "session_gone"];
const CUT_OFF = { detail: "The microphone was cut off.", code: "microphone_ended" };
const LOST = { detail: "The connection was lost: press Live again.", code: "disconnected" };
const BEHIND = {
  detail:
    "The avatar is more than ten seconds behind: wait until it has spoken, or press Interrupt.",
  code: "too_far_behind",
};

export class LiveInput {
  #button;
  #parts;
  #stop = null; // ends what is running
  #isStarting = false;

  /**
   * `openUrl(rate)`: resolves to where sound of that rate goes, or to null. `onStart()`,
   * `onEvent(event)`: what the server says of it; `onProblem(problem)`: it could not be, or ended.
   */
  constructor(button, parts) {
    this.#button = button;
    this.#parts = parts;
    if (!navigator.mediaDevices || !window.AudioWorkletNode) {
      button.disabled = true;
      button.title = "The microphone needs https or localhost.";
    }
    button.addEventListener("click", () => (this.#stop ? this.#stop() : this.#start()));
  }

  async #start() {
    if (this.#isStarting) return;
    this.#isStarting = true;
    this.#parts.onStart();
    const over = new AbortController();
    try {
      await this.#run(over);
    } catch (problem) {
      over.abort();
      this.#parts.onProblem(problem instanceof Problem ? problem : microphoneProblem(problem));
    } finally {
      this.#isStarting = false;
    }
  }

  /** Whatever is opened here is closed when `over` aborts. */
  async #run(over) {
    const until = (act) => over.signal.addEventListener("abort", act, { once: true });
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    until(() => stream.getTracks().forEach((track) => track.stop()));
    const context = new AudioContext();
    until(() => void context.close());
    await context.audioWorklet.addModule(WORKLET);
    const url = await this.#parts.openUrl(context.sampleRate);
    if (url === null) {
      over.abort();
      return;
    }
    const socket = await opened(url);
    let hasSent = false;
    until(() => {
      this.#show(null);
      if (hasSent) sayEnd(socket);
      else socket.close();
    });
    const fail = (why) => this.#fail(over, why);
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data), socket, over);
    socket.onclose = ({ code }) => (code === GOING_AWAY ? over.abort() : fail(LOST));
    for (const track of stream.getTracks()) track.onended = () => fail(CUT_OFF);

    const microphone = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0 });
    microphone.port.onmessage = ({ data }) => {
      if (over.signal.aborted || socket.readyState !== WebSocket.OPEN) return;
      if (socket.bufferedAmount > MAX_BEHIND_BYTES) fail(BEHIND);
      else {
        socket.send(data);
        hasSent = true;
      }
    };
    context.createMediaStreamSource(stream).connect(microphone);
    this.#show(() => over.abort());
  }

  #take(event, socket, over) {
    this.#parts.onEvent(event);
    if (event.event === "accepted") return;
    if (event.event === "error" && !NO_FAILURES.includes(event.code)) {
      this.#parts.onProblem(notHeard({ detail: sentence(event.message), code: event.code }));
    }
    over.abort();
    socket.close();
  }

  /** It ends, though nobody wanted that. */
  #fail(over, why) {
    if (over.signal.aborted) return;
    over.abort();
    this.#parts.onProblem(notHeard(why));
  }

  #show(stop) {
    this.#stop = stop;
    this.#button.setAttribute("aria-pressed", String(stop !== null));
  }
}

function notHeard(why) {
  return new Problem({ title: "Not heard.", ...why });
}

// All that was sent comes before the farewell.
function sayEnd(socket) {
  if (socket.readyState !== WebSocket.OPEN) return;
  socket.send('{"event": "end"}');
  setTimeout(() => socket.close(), FAREWELL_MS);
}

/** Resolves to an open socket; rejects with a Problem. */
function opened(url) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    socket.onopen = () => resolve(socket);
    socket.onerror = () => {
      const detail = "The server did not take a WebSocket.";
      reject(new Problem({ title: "No connection.", detail, code: "unreachable" }));
    };
  });
}
