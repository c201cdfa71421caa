// How loud a video is, where the browser lets a page hear what it plays.

const EVERY_MS = 50;
const SILENT = 0.01; // of full scale

/** Listens from now on; the function that it gives ends that: `{text, isSilent}`. */
export function listen(video) {
  const capture = video.captureStream ?? video.mozCaptureStream;
  if (!capture || !("AudioContext" in self)) return async () => unknown("can't be measured here");
  let context;
  let analyser;
  try {
    context = new AudioContext();
    analyser = context.createAnalyser();
    context.createMediaStreamSource(capture.call(video)).connect(analyser);
  } catch (error) {
    void context?.close();
    return async () => unknown(`could not be measured: ${error.message}`);
  }
  const samples = new Float32Array(analyser.fftSize);
  let peak = 0;
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), peak);
  }, EVERY_MS);
  return async () => {
    clearInterval(timer);
    const isRunning = context.state === "running";
    await context.close();
    if (!isRunning) return unknown("could not be measured without a tap");
    return { text: `heard, up to ${peak.toFixed(2)} of full scale`, isSilent: peak < SILENT };
  };
}

function unknown(text) {
  return { text, isSilent: false };
}
