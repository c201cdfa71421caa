// The ways in which a browser can be given speech, the best first: which of them are here.

import { fetchChunk } from "./fetch-chunk.js";
import { MediaFailure, MseSource, mediaSourceClass } from "./source.js";

const TYPICAL = 'video/mp4; codecs="avc1.42E01E, mp4a.40.2"';
const PLAYLIST = "application/vnd.apple.mpegurl";

// `load`: the class, whose module most browsers never need; `fetch`: what a chunk is to it.
const KINDS = {
  mse: {
    isHere: (mime) => mediaSourceClass()?.isTypeSupported(mime) ?? false,
    load: async () => MseSource,
    fetch: fetchChunk,
  },
  hls: {
    isHere: (mime) => canPlay(PLAYLIST) && canPlay(mime),
    load: async () => (await import("./hls-source.js")).HlsSource,
    fetch: async () => new Uint8Array(0), // the browser itself fetches it
  },
  chunks: {
    isHere: (mime) => canPlay(mime),
    load: async () => (await import("./chunk-source.js")).ChunkSource,
    fetch: fetchChunk,
  },
};

function canPlay(type) {
  return document.createElement("video").canPlayType(type) !== "";
}

/** The names of the ways in which `mime` can be played here: "mse", "hls", "chunks". */
export function kindsFor(mime = TYPICAL) {
  return Object.keys(KINDS).filter((name) => KINDS[name].isHere(mime));
}

/**
 * The way in use. Every source that it makes has
 *
 *   media       the element, or what stands for it: its time is that of the run (run.js)
 *   opened()    resolves when it can be started
 *   start(utterance)             which one is played first; its `mime` is known
 *   append(chunk, offset, signal)   true: it is there to be played; false: try again later
 *   cut(start)  what comes from `start` (s) on is not to be played
 *   end()       nothing more comes; `takesMore`: whether anything still may
 *   buffered    what is there to be played, `[[start, end], …]` in s; `aheadS`: how far
 *               ahead of what is played it is worth fetching
 *   isStarted, isLost; `isSelfPaced`: the browser fetches, waits and goes on by itself
 *   timeOf(mediaTime)            the time in the run of a picture painted at `mediaTime`
 *   close()
 *
 * and raises MediaFailure where it is of no more use.
 */
export class SourceKind {
  #name = kindsFor()[0] ?? null;
  #Source = null;
  #sourceOf = null; // the name of the kind that was loaded

  /** "mse", "hls" or "chunks"; null: nothing here plays what we send. */
  get name() {
    return this.#name;
  }

  /** A source; its class is loaded. */
  make(parts) {
    return new this.#Source(parts);
  }

  get isLoaded() {
    return this.#sourceOf === this.#name;
  }

  async load() {
    const name = this.#name;
    this.#Source = await KINDS[name].load();
    this.#sourceOf = name;
  }

  fetch(url, options) {
    return KINDS[this.#name].fetch(url, options);
  }

  /**
   * From playlists, which some claim to play and don't, to chunks; false: it is not about them.
   * What was fetched is of no use then.
   */
  fallBack() {
    if (this.#name !== "hls" || !KINDS.chunks.isHere(TYPICAL)) return false;
    this.#name = "chunks";
    return true;
  }

  /**
   * True: for `mime` it takes another one, which is the one in use from now on, and never one
   * before it again: what was fetched is of use to those behind. Raises MediaFailure if nothing
   * here can play it.
   */
  changeFor(mime) {
    const names = Object.keys(KINDS);
    const isLeft = (name) => names.indexOf(name) >= names.indexOf(this.#name);
    const best = kindsFor(mime).find(isLeft);
    if (best === undefined) throw new MediaFailure(`This browser can't play ${mime}.`);
    const isOther = best !== this.#name;
    this.#name = best;
    return isOther;
  }
}
