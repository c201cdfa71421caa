// A chunk's time stamps count from the beginning of its utterance. Here they are made to count from
// its own, as those of a film that is played by itself.

/**
 * A copy of an fMP4 file whose tracks begin at 0: the first tfdt of each track is taken from all of
 * its tfdts (ISO 14496-12, 8.8.12).
 */
export function rebased(bytes) {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  const bases = new Map();
  for (const moof of boxes(view, 0, view.byteLength, "moof")) {
    for (const traf of boxes(view, moof.start, moof.end, "traf")) {
      const [tfhd] = boxes(view, traf.start, traf.end, "tfhd");
      const trackId = view.getUint32(tfhd.start + 4);
      for (const tfdt of boxes(view, traf.start, traf.end, "tfdt")) {
        const time = new DecodeTime(view, tfdt.start);
        if (!bases.has(trackId)) bases.set(trackId, time.value);
        time.value -= bases.get(trackId);
      }
    }
  }
  return copy;
}

/** baseMediaDecodeTime: 64 bits in version 1, else 32. */
class DecodeTime {
  constructor(view, at) {
    this.view = view;
    this.isLong = view.getUint8(at) === 1;
    this.at = at + 4;
  }

  get value() {
    const { view, at } = this;
    return this.isLong ? view.getBigUint64(at) : BigInt(view.getUint32(at));
  }

  set value(time) {
    const { view, at } = this;
    if (this.isLong) view.setBigUint64(at, time);
    else view.setUint32(at, Number(time));
  }
}

/** The contents of the boxes of `type` right between `from` and `to`: `{start, end}`. */
function boxes(view, from, to, type) {
  const found = [];
  for (let at = from; at + 8 <= to; ) {
    const size = view.getUint32(at);
    const name = String.fromCharCode(...new Uint8Array(view.buffer, at + 4, 4));
    if (size < 8 || at + size > to) break; // not a box: the browser will say so
    if (name === type) found.push({ start: at + 8, end: at + size });
    at += size;
  }
  return found;
}
