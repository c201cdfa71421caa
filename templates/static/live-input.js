// The microphone, spoken while one speaks: raw sound over a WebSocket.

import { Problem } from "./problem.js";
import { microphoneProblem } from "./sound-input.js";
import { sentence } from "./words.js";

const WORKLET = "/static/microphone-worklet.js";
const MAX_BEHIND_BYTES = 1 << 20; // a connection that is ten seconds behind is none

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
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data), socket, over);
    socket.onclose = () => over.abort();
    until(() => this.#show(null));
    until(() => socket.readyState === WebSocket.OPEN && socket.send('{"event": "end"}'));

    const microphone = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0 });
    microphone.port.onmessage = ({ data }) => {
      if (over.signal.aborted || socket.readyState !== WebSocket.OPEN) return;
      if (socket.bufferedAmount > MAX_BEHIND_BYTES) over.abort();
      else socket.send(data);
    };
    context.createMediaStreamSource(stream).connect(microphone);
    this.#show(() => over.abort());
  }

  #take(event, socket, over) {
    this.#parts.onEvent(event);
    if (event.event === "accepted") return;
    over.abort();
    socket.close();
    // To be interrupted is no failure.
    if (event.event === "error" && event.code !== "utterance_ended") {
      const detail = sentence(event.message);
      this.#parts.onProblem(new Problem({ title: "Not heard.", detail, code: event.code }));
    }
  }

  #show(stop) {
    this.#stop = stop;
    this.#button.setAttribute("aria-pressed", String(stop !== null));
  }
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
