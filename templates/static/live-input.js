// The microphone, spoken while one speaks: raw sound over a WebSocket.

import { Problem } from "../client/api/problem.js";
import { microphoneProblem } from "./sound-input.js";

const WORKLET = new URL("microphone-worklet.js", import.meta.url);
const MAX_BEHIND_BYTES = 1 << 20; // some ten seconds

// To be interrupted; and the end of the session is told by others. What is aborted, we did.
const NO_FAILURES = ["utterance_ended", "session_gone", "aborted"];
const CUT_OFF = { detail: "The microphone was cut off.", code: "microphone_ended" };
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
   * `openWriter(format)`: resolves to a writer of such sound, or to null. `onStart()`,
   * `onEvent(name, event)`: what the server says of it; `onProblem(problem)`: it could not be, or
   * ended.
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
    const writer = await this.#parts.openWriter({ rate: context.sampleRate });
    if (writer === null) return over.abort();
    void this.#follow(writer, over);
    const fail = (why) => this.#fail(over, why);
    for (const track of stream.getTracks()) track.onended = () => fail(CUT_OFF);

    let behind = 0;
    let written = null; // when all that was heard is
    const microphone = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0 });
    microphone.port.onmessage = ({ data }) => {
      if (over.signal.aborted) return;
      behind += data.byteLength;
      if (behind > MAX_BEHIND_BYTES) return fail(BEHIND);
      written = write(writer, data, written).then(() => (behind -= data.byteLength));
      written.catch(() => {}); // told by `ended`
    };
    context.createMediaStreamSource(stream).connect(microphone);
    until(() => {
      this.#show(null);
      const last = written === null ? writer.abort() : written.then(() => writer.end());
      last.catch(() => {}); // told by `ended`
    });
    this.#show(() => over.abort());
  }

  async #follow(writer, over) {
    const { onEvent, onProblem } = this.#parts;
    try {
      onEvent("accepted", await writer.accepted);
      onEvent("ended", await writer.ended);
    } catch (problem) {
      if (!NO_FAILURES.includes(problem.code)) onProblem(problem);
    }
    over.abort();
  }

  /** It ends, though nobody wanted that. */
  #fail(over, why) {
    if (over.signal.aborted) return;
    over.abort();
    this.#parts.onProblem(new Problem({ title: "Not heard.", ...why }));
  }

  #show(stop) {
    this.#stop = stop;
    this.#button.setAttribute("aria-pressed", String(stop !== null));
  }
}

async function write(writer, data, before) {
  await before;
  await writer.write(data);
}
