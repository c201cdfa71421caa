// What mp4box reads in the MP4 files named on the command line, as JSON: one object per file.
import { readFileSync } from "node:fs";
import { createFile } from "mp4box";

function inspect(path) {
  const bytes = readFileSync(path);
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  buffer.fileStart = 0;
  const file = createFile();
  const errors = [];
  let info = null;
  file.onError = (module, message) => errors.push(`${module}: ${message}`);
  file.onReady = (ready) => { info = ready; };
  file.appendBuffer(buffer);
  file.flush();
  const tracks = (info?.tracks ?? []).map((track) => ({
    type: track.type,
    codec: track.codec,
    timescale: track.timescale,
    samples: file.getTrackSamplesInfo(track.id).map((s) => [s.dts, s.cts, s.duration, s.is_sync]),
  }));
  return {
    errors,
    mime: info?.mime ?? null,
    fragmented: info?.isFragmented ?? null,
    boxes: file.boxes.map((box) => box.type),
    tfdt: file.moofs.map((moof) => moof.trafs.map((traf) => traf.tfdt.baseMediaDecodeTime)),
    sequence: file.moofs.map((moof) => moof.mfhd.sequence_number),
    tracks,
  };
}

process.stdout.write(JSON.stringify(process.argv.slice(2).map(inspect)));
