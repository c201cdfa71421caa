// An app in TypeScript that uses everything; it is compiled, not run.

import {
  MuseTalkAvatar,
  Problem,
  createSession,
  openSession,
  type AudioWriter,
  type Interruption,
  type Session,
  type SessionEvent,
  type Spoken,
  type Utterance,
} from "@musetalk-stream/web";
import { createSession as createInNode } from "@musetalk-stream/web/api";
import { MuseTalkAvatar as Element } from "@musetalk-stream/web/element";

const server = "https://avatar.example.com/talk";

export async function everything(file: File, pcm: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
  const { signal } = new AbortController();
  const session: Session = await createSession({
    server: new URL(server),
    avatarId: "demo",
    userId: "anna",
    fps: 25,
    playbackFps: 50,
    batchSize: 2,
    chunkDuration: 2,
    onBusy: "queue",
    prebuffer: 0.2,
    fetch: (url, options) => fetch(url, options),
    signal,
  });
  const frame: HTMLIFrameElement = document.createElement("iframe");
  frame.src = session.playerUrl;
  const seconds: number | undefined = session.expiresInSeconds;
  console.log(session.sessionId, session.avatar.videoUrl, session.config.playbackFps, seconds);

  const cues = [{ start: 0, end: 1.5, text: "Hello" }];
  const spoken: Spoken = await session.sendAudio(file, {
    trailingSilence: 0.5,
    trimLeadingSilence: true,
    onBusy: "replace",
    captions: cues,
    idempotencyKey: "one",
    onProgress: (fraction) => console.log(fraction.toFixed(2)),
    signal,
  });
  await session.sendAudio(new Uint8Array(44));

  const writer: AudioWriter = await session.streamAudio({ format: { rate: 24_000, channels: 1 } });
  await writer.write(new Int16Array(2400));
  const { requestId }: { requestId: string } = await writer.accepted;
  await writer.end();
  await writer.abort();
  const sent: Spoken = await session.streamAudio({ contentType: "audio/mpeg", source: pcm });
  console.log(writer.transport, sent.duration);

  const cut: Interruption = await session.interrupt({ waitMs: 500 });
  console.log(cut.playedMs ?? 0);
  await session.cancel(requestId);
  await session.setCaptions(spoken.requestId, "WEBVTT\n\n00:00.000 --> 00:01.000\nHello");
  const all: Utterance[] = await session.utterances();
  console.log(all[0]?.timingsMs.firstChunk, (await session.utterance(requestId)).status);
  console.log(await session.describe());

  for await (const event of session.events({ lastEventId: "7", onConnected: console.log, signal })) {
    if (event.event === "chunk") console.log(event.url, event.levels.length, event.id);
    else if (event.event === "closed") console.log(event.reason);
    else show(event);
  }
  await session.close();
  await (await openSession({ server, sessionId: session.sessionId, token: session.token })).close();
  const ours = await createInNode({ server, key: "mts_…" });
  const { playerUrl, expiresAt } = await ours.createToken({ rights: ["view", "interrupt"], ttl: 600 });
  console.log(playerUrl, expiresAt && new Date(expiresAt));
  await ours.close();
}

function show(event: Exclude<SessionEvent, SessionEvent<"chunk" | "closed">>): void {
  if (event.event === "complete") console.log(event.duration);
}

export function embed(session: Session): MuseTalkAvatar {
  const avatar = document.createElement("musetalk-avatar");
  const same: Element = avatar;
  avatar.session = session;
  avatar.session = "an id";
  avatar.server = server;
  avatar.token = "another";
  avatar.addEventListener("recording", ({ detail }) => console.log(detail.on));
  avatar.set({ volume: 0.5, muted: false, captions: true, fit: "cover", background: null });
  avatar.addEventListener("speech_ended", ({ detail }) => console.log(detail.reason, detail.played_ms));
  avatar.addEventListener("error", ({ detail }) => console.log(detail.code, detail.retryable));
  avatar.addEventListener("click", (event) => console.log(event.clientX));
  void avatar.interrupt();
  console.log(avatar.debug?.["counters"], same.options.volume);
  return avatar;
}

export function tell(error: unknown): string {
  if (!(error instanceof Problem)) throw error;
  const wait: number | null = error.retryAfterS;
  return `${error.title} ${error.detail} ${error.code} ${error.status} ${error.retryable} ${wait}`;
}

// What must not compile.
export async function mistakes(session: Session, avatar: MuseTalkAvatar): Promise<void> {
  // @ts-expect-error: no server
  await createSession({ avatarId: "demo" });
  // @ts-expect-error: the wire's name
  await createSession({ server, avatar_id: "demo" });
  // @ts-expect-error: neither a format nor a type
  await session.streamAudio({});
  // @ts-expect-error: both
  await session.streamAudio({ format: { rate: 8000 }, contentType: "audio/mpeg" });
  // @ts-expect-error: no such choice
  await session.sendAudio(new Blob(), { onBusy: "wait" });
  // @ts-expect-error: no such option
  avatar.set({ loudness: 1 });
  // @ts-expect-error: no such field
  avatar.addEventListener("ready", ({ detail }) => console.log(detail.reason));
}
