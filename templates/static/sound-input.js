// How a sound gets onto the page: chosen, dropped anywhere, or recorded.

import { acceptChosen, acceptDropped } from "./file-input.js";
import { Problem } from "../client/api/problem.js";

/**
 * `onSound(file)` for each of them, `onRecord()` when recording begins, `onProblem(problem)` when
 * it is not possible.
 */
export function acceptSounds({ parts, frame, onSound, onRecord, onProblem }) {
  acceptChosen(parts.choose, parts.file, onSound);
  const { show } = acceptDropped(parts.drop, onSound);
  acceptDraggedOver(frame, show);
  new Recorder(parts.record, parts.recordLabel, { onSound, onRecord, onProblem });
}

/** Why the browser gave no microphone. */
export function microphoneProblem(error) {
  const detail =
    error.name === "NotAllowedError"
      ? "The browser was not allowed to use it."
      : "There is none that can be used.";
  return new Problem({ title: "No microphone.", detail, code: error.name });
}

// A drag that enters over the player is the frame's until the veil lies between.
function acceptDraggedOver(frame, show) {
  frame.addEventListener("load", () => {
    frame.contentWindow.addEventListener("dragenter", show);
    frame.contentWindow.addEventListener("dragover", (event) => event.preventDefault());
    frame.contentWindow.addEventListener("drop", (event) => event.preventDefault());
  });
}

class Recorder {
  #button;
  #label;
  #onSound;
  #onRecord;
  #onProblem;
  #recorder = null;
  #isStarting = false; // the browser is asking for the microphone
  #clock = 0;

  constructor(button, label, { onSound, onRecord, onProblem }) {
    this.#button = button;
    this.#label = label;
    this.#onSound = onSound;
    this.#onRecord = onRecord;
    this.#onProblem = onProblem;
    if (!navigator.mediaDevices || !window.MediaRecorder) {
      button.disabled = true;
      button.title = "Recording needs https or localhost, and a browser that can record.";
    }
    button.addEventListener("click", () => (this.#recorder ? this.#stop() : this.#start()));
  }

  async #start() {
    if (this.#isStarting) return;
    this.#isStarting = true;
    this.#onRecord();
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      this.#record(stream);
    } catch (error) {
      for (const track of stream?.getTracks() ?? []) track.stop();
      this.#onProblem(microphoneProblem(error));
    } finally {
      this.#isStarting = false;
    }
  }

  #record(stream) {
    const parts = [];
    const recorder = new MediaRecorder(stream);
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => {
      for (const track of stream.getTracks()) track.stop();
      this.#recorder = null;
      this.#show(false);
      const type = recorder.mimeType;
      const name = type.includes("mp4") ? "recording.m4a" : "recording.webm";
      this.#onSound(new File(parts, name, { type }));
    };
    recorder.start();
    this.#recorder = recorder;
    this.#show(true);
  }

  #stop() {
    if (this.#recorder.state !== "inactive") this.#recorder.stop();
  }

  #show(isRecording) {
    const began = Date.now();
    const tick = () => {
      const seconds = Math.floor((Date.now() - began) / 1000);
      this.#label.textContent = `Stop and speak  ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    };
    clearInterval(this.#clock);
    this.#button.setAttribute("aria-pressed", String(isRecording));
    if (!isRecording) this.#label.textContent = "Record";
    else {
      tick();
      this.#clock = setInterval(tick, 250);
    }
  }
}
