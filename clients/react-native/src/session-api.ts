// The requests of an app, one function each. Every failure is a `Problem`. There are more in
// @musetalk-stream/web/api; these few spare an app with a view a second package, and have the
// wire's names, as the view's messages do.

import { addressOf, sessionAddress, tokenOf, type SessionRef } from "./addresses.js";
import { Problem, notJson, parseProblem, unreachable } from "./problem.js";

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
  /** Where the server has API keys: for this session alone, and for a while. */
  readonly token?: string;
  /** For players that are no WebView, as those of the system. */
  readonly hls_url: string;
  readonly avatar_id: string;
  readonly avatar: Avatar;
  readonly user_id: string | null;
  readonly config: Readonly<Record<string, unknown>>;
  readonly expires_in_seconds: number;
}

/** The most of what the server says of it. */
export interface Avatar {
  readonly id: string;
  readonly name: string;
  /** In pixels. */
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  /** A path of the server. */
  readonly video_url: string;
  readonly poster_url: string;
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
  /** The header of that name, instead of the token of the session: `Bearer …`. */
  readonly authorization?: string;
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

/** On a server that has API keys, your own server does this, as no app may have a key. */
export async function createSession(
  server: string,
  settings: SessionSettings = {},
  options: RequestOptions = {},
): Promise<Session> {
  return ask(addressOf(server, "/sessions/create"), TIMEOUT_MS, options, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(settings),
  });
}

/** Let the avatar say what is in a file. The answer comes when all of it has been sent. */
export async function sendAudio(
  server: string,
  session: SessionRef,
  file: string | SoundFile,
  { captions, idempotencyKey, signal, authorization, ...settings }: SendOptions = {},
): Promise<Spoken> {
  const form = new FormData();
  if (captions) form.append("captions", JSON.stringify(captions));
  const part = partOf(typeof file === "string" ? { uri: file } : file);
  form.append("audio_file", part as unknown as Blob); // which a browser's types would ask for
  const address = sessionAddress(server, session, `/stream${queryOf(settings)}`);
  // Uploads take as long as they take; the server ends those that stall.
  const options = { ...(signal && { signal }), ...(authorization && { authorization }) };
  return ask(address, null, by(session, options), {
    method: "POST",
    headers: idempotencyKey ? { "Idempotency-Key": idempotencyKey } : {},
    body: form,
  });
}

/** Silence at once; the answer says how much was heard. */
export async function interrupt(
  server: string,
  session: SessionRef,
  options: RequestOptions = {},
): Promise<Interruption> {
  const address = sessionAddress(server, session, "/interrupt");
  return ask(address, TIMEOUT_MS, by(session, options), { method: "POST" });
}

/** The session ends. One that is over already is no failure. */
export async function deleteSession(
  server: string,
  session: SessionRef,
  options: RequestOptions = {},
): Promise<void> {
  const address = sessionAddress(server, session);
  try {
    await ask(address, TIMEOUT_MS, by(session, options), { method: "DELETE" });
  } catch (error) {
    if (![404, 410].includes((error as Problem).status)) throw error; // over already is as good
  }
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

/** Who asks, unless the app says it. */
function by(session: SessionRef, options: RequestOptions): RequestOptions {
  const token = tokenOf(session);
  return token === null ? options : { authorization: `Bearer ${token}`, ...options };
}

function queryOf(settings: SpeechSettings): string {
  const given = Object.entries(settings).filter(([, value]) => value !== undefined);
  const words = given.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`);
  return words.length > 0 ? `?${words.join("&")}` : "";
}

/** What the server answers, if that is yes; nothing where it says nothing. */
async function ask<Answer>(
  address: string,
  timeoutMs: number | null,
  { signal, authorization }: RequestOptions,
  request: RequestInit & { readonly headers?: Readonly<Record<string, string>> },
): Promise<Answer> {
  const server = address.split("/").slice(0, 3).join("/");
  const ending = new AbortController();
  const end = (): void => ending.abort();
  const timer = timeoutMs === null ? null : setTimeout(end, timeoutMs);
  signal?.addEventListener("abort", end);
  if (signal?.aborted) end();
  try {
    const headers = { ...request.headers, ...(authorization && { Authorization: authorization }) };
    const answer = await fetch(address, { ...request, headers, signal: ending.signal });
    const text = await answer.text();
    if (!answer.ok) throw parseProblem(answer.status, text, answer.headers.get("Retry-After"));
    return (answer.status === 204 ? undefined : parse(text)) as Answer;
  } catch (error) {
    // Who aborts a request knows; everything else that `fetch` throws is the network's.
    if (signal?.aborted || error instanceof Problem) throw error;
    const isLate = ending.signal.aborted;
    const late = `it took longer than ${TIMEOUT_MS / 1000} seconds`;
    throw unreachable(server, isLate ? late : (error as Error).message);
  } finally {
    if (timer !== null) clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw notJson();
  }
}
