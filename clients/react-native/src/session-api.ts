// The requests of an app, one function each. Every failure is a `Problem`.

import { addressOf, sessionAddress, type SessionRef } from "./addresses.js";
import { parseProblem, unreachable } from "./problem.js";

const TIMEOUT_MS = 20_000;

/** What may be asked for; docs/protocol.md has the ranges and defaults. */
export interface SessionSettings {
  readonly avatar_id?: string;
  readonly user_id?: string;
  readonly fps?: number;
  readonly playback_fps?: number;
  readonly batch_size?: number;
  /** In seconds. */
  readonly chunk_duration?: number;
  readonly on_busy?: OnBusy;
  /** In seconds. */
  readonly prebuffer?: number;
}

/** What becomes of speech that comes while the session speaks. */
export type OnBusy = "reject" | "queue" | "replace";

export interface Session {
  readonly session_id: string;
  readonly player_url: string;
  readonly player_full_url: string;
  readonly avatar_id: string;
  readonly user_id: string | null;
  readonly config: Readonly<Record<string, unknown>>;
  readonly expires_in_seconds: number;
}

/** A file on the device, as pickers, recorders and text-to-speech name them. */
export interface SoundFile {
  /** `file://…`, or on Android `content://…`. */
  readonly uri: string;
  /** By default the end of the address. */
  readonly name?: string | null;
  /** By default what the end of the name says. */
  readonly type?: string | null;
}

export interface Caption {
  /** In seconds from the beginning of the utterance. */
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export interface SpeechSettings {
  readonly on_busy?: OnBusy;
  /** In seconds. */
  readonly prebuffer?: number;
  /** In seconds. */
  readonly trailing_silence?: number;
  readonly trim_leading_silence?: boolean;
}

export interface SendOptions extends SpeechSettings, RequestOptions {
  readonly captions?: readonly Caption[];
  /** The same for a request that is sent again, so that it is not spoken twice. */
  readonly idempotencyKey?: string;
}

export interface RequestOptions {
  readonly signal?: AbortSignal;
}

export interface Spoken {
  readonly request_id: string;
  readonly session_id: string;
  readonly status: string;
  /** In seconds. */
  readonly duration: number;
  readonly epoch: number;
}

export interface Interruption {
  readonly interrupted: boolean;
  readonly epoch: number;
  readonly request_ids: readonly string[];
  /** Of the utterance that was heard. */
  readonly request_id: string | null;
  /** How much of it was. */
  readonly played_ms: number | null;
}

export async function createSession(
  server: string,
  settings: SessionSettings = {},
  options: RequestOptions = {},
): Promise<Session> {
  const answer = await ask(addressOf(server, "/sessions/create"), TIMEOUT_MS, options, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(settings),
  });
  return (await answer.json()) as Session;
}

/** Let the avatar say what is in a file. The answer comes when all of it has been sent. */
export async function sendAudio(
  server: string,
  session: SessionRef,
  file: string | SoundFile,
  { captions, idempotencyKey, signal, ...settings }: SendOptions = {},
): Promise<Spoken> {
  const form = new FormData();
  if (captions) form.append("captions", JSON.stringify(captions));
  const part = partOf(typeof file === "string" ? { uri: file } : file);
  form.append("audio_file", part as unknown as Blob); // which a browser's types would ask for
  const address = sessionAddress(server, session, `/stream${queryOf(settings)}`);
  // Uploads take as long as they take; the server ends those that stall.
  const answer = await ask(address, null, signal ? { signal } : {}, {
    method: "POST",
    headers: idempotencyKey ? { "Idempotency-Key": idempotencyKey } : {},
    body: form,
  });
  return (await answer.json()) as Spoken;
}

/** Silence at once; the answer says how much was heard. */
export async function interrupt(
  server: string,
  session: SessionRef,
  options: RequestOptions = {},
): Promise<Interruption> {
  const address = sessionAddress(server, session, "/interrupt");
  const answer = await ask(address, TIMEOUT_MS, options, { method: "POST" });
  return (await answer.json()) as Interruption;
}

/** The session ends. One that is over already is no failure. */
export async function deleteSession(
  server: string,
  session: SessionRef,
  options: RequestOptions = {},
): Promise<void> {
  const address = sessionAddress(server, session);
  await ask(address, TIMEOUT_MS, options, { method: "DELETE" }, [404, 410]);
}

const TYPES: { readonly [ending: string]: string } = {
  aac: "audio/aac",
  aif: "audio/aiff",
  aiff: "audio/aiff",
  amr: "audio/amr",
  caf: "audio/x-caf",
  flac: "audio/flac",
  m4a: "audio/mp4",
  mp3: "audio/mpeg",
  mp4: "audio/mp4",
  mpga: "audio/mpeg",
  oga: "audio/ogg",
  ogg: "audio/ogg",
  opus: "audio/ogg",
  wav: "audio/wav",
  webm: "audio/webm",
};

/** A file as React Native's forms take it; the server looks at the bytes, whatever `type` says. */
function partOf({ uri, name, type }: SoundFile): { uri: string; name: string; type: string } {
  const fileName = name || uri.split(/[?#]/)[0]?.split("/").pop() || "speech";
  const ending = fileName.split(".").pop()?.toLowerCase() ?? "";
  return { uri, name: fileName, type: type || TYPES[ending] || "application/octet-stream" };
}

function queryOf(settings: SpeechSettings): string {
  const given = Object.entries(settings).filter(([, value]) => value !== undefined);
  const words = given.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`);
  return words.length > 0 ? `?${words.join("&")}` : "";
}

/** The answer, if it is one that says yes or has one of the statuses `fine`. */
async function ask(
  address: string,
  timeoutMs: number | null,
  { signal }: RequestOptions,
  request: RequestInit,
  fine: readonly number[] = [],
): Promise<Response> {
  const ending = new AbortController();
  const end = (): void => ending.abort();
  const timer = timeoutMs === null ? null : setTimeout(end, timeoutMs);
  signal?.addEventListener("abort", end);
  if (signal?.aborted) end();
  try {
    const answer = await fetch(address, { ...request, signal: ending.signal });
    if (answer.ok || fine.includes(answer.status)) return answer;
    throw parseProblem(answer.status, await answer.text());
  } catch (error) {
    // Who aborts a request knows; everything else that `fetch` throws is the network's.
    if (signal?.aborted || (error as Error).name === "Problem") throw error;
    throw unreachable(address.split("/").slice(0, 3).join("/"), error);
  } finally {
    if (timer !== null) clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  }
}
