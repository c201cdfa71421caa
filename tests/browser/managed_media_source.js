// ManagedMediaSource (W3C Media Source Extensions 2) for Chromium, which has only MediaSource: takes
// the place of that, and does what a phone may do, at a test's word. `window.managed`:
//
//   low, high    s of speech ahead of playback: below, it wants more; above, it has enough
//   breaks       so many of the next sources end by themselves instead of opening, without an event
//                (WebKit bug 305712)
//   evict(start, end)   remove that (s), as the browser does for its own ends: nobody is asked, no
//                update is seen to run; resolves when it is gone
//   made         sources made
window.managed = { low: 2, high: 4, breaks: 0, made: 0, evict: async () => {} };

(() => {
  const LOOK_EVERY_MS = 50;
  const { managed } = window;
  const Native = window.MediaSource;
  const sources = new Map(); // by object URL
  const sourceBuffer = SourceBuffer.prototype;
  const nativeUpdating = Object.getOwnPropertyDescriptor(sourceBuffer, "updating").get;
  const nativeState = Object.getOwnPropertyDescriptor(Native.prototype, "readyState").get;

  class BufferedChangeEvent extends Event {
    constructor(addedRanges, removedRanges) {
      super("bufferedchange");
      Object.assign(this, { addedRanges, removedRanges });
    }
  }

  class ManagedMediaSource extends Native {
    #streaming = false;
    isBroken = false;
    video = null;

    constructor() {
      super();
      managed.made += 1;
      this.isBroken = managed.breaks > 0;
      if (this.isBroken) managed.breaks -= 1;
    }

    get streaming() {
      return this.#streaming;
    }

    get readyState() {
      return this.isBroken && this.video !== null ? "ended" : nativeState.call(this);
    }

    addSourceBuffer(mime) {
      const buffer = super.addSourceBuffer(mime);
      manage(this, buffer);
      return buffer;
    }

    attach(video) {
      this.video = video;
      const timer = setInterval(() => {
        const state = nativeState.call(this);
        if (state === "closed" && this.sourceBuffers.length > 0) clearInterval(timer);
        if (state === "open") this.#look(video);
      }, LOOK_EVERY_MS);
    }

    #look({ buffered, currentTime }) {
      const ahead = buffered.length > 0 ? buffered.end(buffered.length - 1) - currentTime : 0;
      const wants = ahead < (this.#streaming ? managed.high : managed.low);
      if (wants === this.#streaming) return;
      this.#streaming = wants;
      this.dispatchEvent(new Event(wants ? "startstreaming" : "endstreaming"));
    }
  }

  function manage(source, buffer) {
    let before = [];
    let isEvicting = false;
    const waiting = []; // what the page asks for meanwhile: done as soon as the room is made
    const tell = () => {
      const now = toArray(buffer.buffered);
      const [added, removed] = [minus(now, before), minus(before, now)];
      before = now;
      if (added.length + removed.length === 0) return;
      buffer.dispatchEvent(new BufferedChangeEvent(toRanges(added), toRanges(removed)));
    };
    buffer.addEventListener("updateend", tell);
    for (const type of ["updatestart", "update", "updateend"]) {
      buffer.addEventListener(type, (event) => isEvicting && event.stopImmediatePropagation(), true);
    }
    Object.defineProperty(buffer, "updating", {
      get: () => waiting.length > 0 || (!isEvicting && nativeUpdating.call(buffer)),
    });
    for (const name of ["appendBuffer", "remove"]) {
      buffer[name] = (...args) => {
        const act = () => sourceBuffer[name].apply(buffer, args);
        if (isEvicting) waiting.push(act);
        else act();
      };
    }
    managed.evict = async (start, end) => {
      while (nativeUpdating.call(buffer)) await happened(buffer, "updateend");
      const wasEnded = nativeState.call(source) === "ended";
      isEvicting = true;
      sourceBuffer.remove.call(buffer, start, end);
      while (nativeUpdating.call(buffer)) await new Promise((resolve) => setTimeout(resolve, 1));
      isEvicting = false;
      tell();
      if (waiting.length > 0) waiting.shift()();
      else if (wasEnded) source.endOfStream();
    };
  }

  function happened(target, type) {
    return new Promise((resolve) => target.addEventListener(type, resolve, { once: true }));
  }

  function toArray(ranges) {
    return Array.from({ length: ranges.length }, (_, i) => [ranges.start(i), ranges.end(i)]);
  }

  function toRanges(array) {
    return { length: array.length, start: (i) => array[i][0], end: (i) => array[i][1] };
  }

  /** What of `ranges` is in none of `others`. */
  function minus(ranges, others) {
    return others.reduce(
      (left, [from, to]) =>
        left
          .flatMap(([start, end]) => [
            [start, Math.min(end, from)],
            [Math.max(start, to), end],
          ])
          .filter(([start, end]) => end - start > 0.001),
      ranges,
    );
  }

  const { createObjectURL } = URL;
  URL.createObjectURL = (object) => {
    const url = createObjectURL.call(URL, object);
    if (object instanceof ManagedMediaSource) sources.set(url, object);
    return url;
  };
  const src = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "src");
  Object.defineProperty(HTMLMediaElement.prototype, "src", {
    get: src.get,
    set(url) {
      const source = sources.get(url);
      // What might still be sent to a television is never opened.
      if (source !== undefined && !this.disableRemotePlayback) return;
      source?.attach(this);
      if (!source?.isBroken) src.set.call(this, url);
    },
  });
  delete window.MediaSource;
  window.ManagedMediaSource = ManagedMediaSource;
})();
