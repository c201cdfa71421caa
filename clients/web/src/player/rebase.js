// A chunk's time stamps count from the beginning of its utterance. Here they are made to count from
// its own, as those of a film that is played by itself.

/**
 * A copy of an fMP4 file that begins at 0: the same time, the first of all tracks, is taken from
 * every tfdt (ISO 14496-12, 8.8.12), so that sound and picture stay as far apart as they are.
 */
export function rebased(bytes) {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  const times = decodeTimes(view, timescales(view));
  const first = Math.min(...times.map(({ time, hz }) => Number(time.value) / hz)); // s
  for (const { time, hz } of times) time.value -= BigInt(Math.round(first * hz));
  return copy;
}

/** How many units of time there are in a second of each track, by its id. */
function timescales(view) {
  const found = new Map();
  for (const trak of boxesIn(view, "moov", "trak")) {
    const [tkhd] = boxes(view, trak, "tkhd");
    const [mdhd] = boxesIn(view, "mdia", "mdhd", trak);
    found.set(afterDates(view, tkhd), afterDates(view, mdhd));
  }
  return found;
}

/** What stands behind the dates of creation and modification: 64 bits each in version 1, else 32. */
function afterDates(view, { start }) {
  return view.getUint32(start + (view.getUint8(start) === 1 ? 20 : 12));
}

/** All of a film: `{time, hz}`. */
function decodeTimes(view, hzOf) {
  return boxesIn(view, "moof", "traf").flatMap((traf) => {
    const [tfhd] = boxes(view, traf, "tfhd");
    const hz = hzOf.get(view.getUint32(tfhd.start + 4));
    return boxes(view, traf, "tfdt").map(({ start }) => ({ time: new DecodeTime(view, start), hz }));
  });
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

/** The contents of the boxes of type `inner` right inside those of type `outer`. */
function boxesIn(view, outer, inner, place = { start: 0, end: view.byteLength }) {
  return boxes(view, place, outer).flatMap((box) => boxes(view, box, inner));
}

/** The contents of the boxes of `type` right inside a place: `{start, end}` each. */
function boxes(view, { start: from, end: to }, type) {
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
