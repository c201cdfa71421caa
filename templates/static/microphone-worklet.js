// Runs on the browser's audio thread: the microphone's samples as 16-bit PCM, little-endian, mono.

const BLOCK = 1024; // samples: some 20 ms

registerProcessor(
  "microphone",
  class extends AudioWorkletProcessor {
    #block = new DataView(new ArrayBuffer(BLOCK * 2));
    #length = 0;

    process([channels]) {
      for (const sample of channels[0] ?? []) {
        const value = Math.max(-1, Math.min(1, sample)) * 0x7fff;
        this.#block.setInt16(this.#length * 2, value, true);
        this.#length += 1;
        if (this.#length === BLOCK) this.#send();
      }
      return true;
    }

    #send() {
      this.port.postMessage(this.#block.buffer.slice(0));
      this.#length = 0;
    }
  },
);
