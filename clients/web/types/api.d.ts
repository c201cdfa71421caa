// Options and answers have names of JavaScript; events are as docs/protocol.md has them.

/** What every function throws, unless its `signal` aborted. */
export declare class Problem extends Error {
  constructor(fields: ProblemFields);
  readonly title: string;
  /** A sentence that says what is wrong and what to do. */
  readonly detail: string;
  /** Stable: docs/protocol.md has them all. Of the library: `unreachable`, `http_…`, `aborted`, … */
  readonly code: string;
  /** Of the answer; 0 where there was none. */
  readonly status: number;
  /** The same request may succeed later. */
  readonly retryable: boolean;
  readonly retryAfterS: number | null;
}

export interface ProblemFields {
  readonly title: string;
  readonly detail: string;
  readonly code?: string;
  readonly status?: number;
  readonly retryable?: boolean;
  readonly retryAfterS?: number | null;
}

export type OnBusy = "reject" | "queue" | "replace";
export type Fetch = (url: string, options?: RequestInit) => Promise<Response>;

export interface Aborted {
  readonly signal?: AbortSignal;
}

export interface ServerOptions extends Aborted {
  /** Its address, with the path that it is mounted at; on a page, relative to that. */
  readonly server: string | URL;
  /** Instead of the global one, for all requests; sound that is streamed by WebSocket is none. */
  readonly fetch?: Fetch;
}

export interface SessionOptions {
  readonly avatarId?: string;
  readonly userId?: string;
  /** 5 to 60; of the lips. */
  readonly fps?: number;
  /** `fps` to 60; of the picture. */
  readonly playbackFps?: number;
  /** 1 to 64 frames per turn in a render batch. */
  readonly batchSize?: number;
  /** 0.2 to 10 s. */
  readonly chunkDuration?: number;
  /** What becomes of speech that comes while the session speaks. */
  readonly onBusy?: OnBusy;
  /** 0 to 2 s that sound which still arrives is played later than it could be. */
  readonly prebuffer?: number;
}

export interface CreateOptions extends ServerOptions, SessionOptions {
  /** An API key. For your own server alone: who has it may do everything in your name. */
  readonly key?: string | null;
}

export interface OpenOptions extends ServerOptions {
  readonly sessionId: string;
  /** Of that session, where the server asks who you are. */
  readonly token?: string | null;
  /** Instead of a token, on your own server. */
  readonly key?: string | null;
}

/** See the session; interrupt it; let it speak; end it. */
export type Right = "view" | "interrupt" | "speak" | "end";

export interface TokenOptions extends Aborted {
  readonly rights?: readonly Right[];
  /** Seconds for which it counts. */
  readonly ttl?: number;
}

export interface Token {
  /** Null where nobody needs one. */
  readonly token: string | null;
  readonly rights: readonly Right[];
  /** When it does not count any more, as RFC 3339 has it. */
  readonly expiresAt: string | null;
  /** Whole addresses, with the token in them. */
  readonly playerUrl: string;
  readonly eventsUrl: string;
}

export interface SessionConfig {
  readonly fps: number;
  readonly playbackFps: number;
  readonly batchSize: number;
  readonly chunkDuration: number;
  readonly onBusy: OnBusy;
  readonly prebuffer: number;
  readonly ignored?: readonly string[];
}

export interface Avatar {
  readonly id: string;
  readonly name: string;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly numFrames: number;
  /** Of them the still ones, which are looped while nothing is said. */
  readonly idleFrames: number;
  readonly cycle: string;
  /** Frames of one turn of the loop. */
  readonly cycleLength: number;
  readonly videoUrl: string;
  readonly posterUrl: string;
  readonly provenance: string;
  readonly licence: string;
  /** Whether the server's renderer has been prepared for it. */
  readonly prepared: boolean;
  /** It can't be deleted. */
  readonly protected: boolean;
}

/** `[{start, end, text}]`, times in seconds of the utterance, or WebVTT. */
export type Captions = string | readonly Cue[];

export interface Cue {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export interface SpeechOptions extends Aborted {
  readonly onBusy?: OnBusy;
  readonly prebuffer?: number;
  /** 0 to 30 s after the speech. */
  readonly trailingSilence?: number;
  readonly trimLeadingSilence?: boolean;
}

export interface SendOptions extends SpeechOptions {
  readonly captions?: Captions;
  /** Sent again with the same key, it is not spoken again. */
  readonly idempotencyKey?: string;
  /** `fraction` of the upload, 0 to 1; where `XMLHttpRequest` is missing, 1 at its end alone. */
  readonly onProgress?: (fraction: number) => void;
}

export type Bytes = ArrayBuffer | ArrayBufferView;

/** `File` and `Blob` are sent as they are, bytes as a file. */
export type Sound = Blob | Bytes;

export interface PcmFormat {
  /** 4000 to 192000 Hz. */
  readonly rate: number;
  readonly channels?: number;
  readonly endianness?: "little-endian" | "big-endian";
}

/** Raw signed 16-bit samples, or a file of that type (`audio/webm`, `audio/mpeg`, …). */
export type StreamKind =
  | { readonly format: PcmFormat; readonly contentType?: undefined }
  | { readonly contentType: string; readonly format?: undefined };

export type StreamOptions = StreamKind & SpeechOptions;

export type AudioSource = ReadableStream<Bytes> | AsyncIterable<Bytes> | Iterable<Bytes>;

export interface Accepted {
  readonly requestId: string;
  readonly epoch: number;
}

export interface Spoken {
  readonly requestId: string;
  /** Seconds. */
  readonly duration: number;
  readonly status: UtteranceStatus;
  readonly sessionId?: string;
  readonly epoch?: number;
}

export interface AudioWriter {
  /** `websocket`; else `request`, or `upload` where nothing is spoken before `end`. */
  readonly transport: "websocket" | "request" | "upload";
  /** Resolves when the server has begun to take the sound; without a WebSocket, when `end` does. */
  readonly accepted: Promise<Accepted>;
  /** Resolves as `end` does; rejects as soon as nothing more is taken. */
  readonly ended: Promise<Spoken>;
  /** Resolves when more may be written. An `upload` waits in memory for `end`, up to 256 MiB. */
  write(bytes: Bytes): Promise<void>;
  /** Resolves when the server has all of it. */
  end(): Promise<Spoken>;
  /** Stop it; by WebSocket what was sent is not spoken any further. */
  abort(): Promise<void>;
}

export interface Interruption {
  readonly interrupted: boolean;
  readonly epoch: number;
  readonly requestIds: readonly string[];
  /** The one that viewers heard. */
  readonly requestId: string | null;
  readonly playedMs: number | null;
}

export type UtteranceStatus =
  | "queued"
  | "speaking"
  | "complete"
  | "failed"
  | "interrupted"
  | "cancelled";

export interface Utterance {
  readonly requestId: string;
  readonly epoch: number;
  readonly status: UtteranceStatus;
  readonly arriving: boolean;
  readonly position: number | null;
  readonly duration: number | null;
  readonly chunks: number;
  readonly seconds: number;
  readonly playedMs: number | null;
  readonly endedEarly: string | null;
  readonly waited: number;
  readonly timingsMs: Timings;
  readonly recordingUrl: string;
  readonly playlistUrl: string;
  readonly captionsUrl: string;
}

/** ms since its request; null until it has happened. */
export interface Timings {
  readonly received: number | null;
  readonly decoded: number | null;
  readonly firstBatch: number | null;
  readonly firstChunk: number | null;
  readonly firstFramePainted: number | null;
}

interface OfUtterance {
  readonly request_id: string;
  readonly epoch: number;
}

/** Every event of docs/protocol.md with its fields. */
export interface EventFields {
  queued: OfUtterance & { position: number };
  started: OfUtterance & {
    duration: number | null;
    fps: number;
    mime: string;
    avatar_frame: number;
    follows: string | null;
    prebuffer: number;
  };
  first_frame: OfUtterance;
  captions: OfUtterance & { cues: readonly Cue[] };
  chunk: OfUtterance & {
    url: string;
    index: number;
    start: number;
    duration: number;
    mime: string;
    avatar_frames: readonly [number, number];
    levels: readonly number[];
  };
  complete: OfUtterance & {
    total_chunks: number;
    duration: number;
    sound_duration: number;
    avatar_frame: number;
    ended_early: string | null;
    waited: number;
  };
  error: OfUtterance & { message: string; code: string; retryable: boolean };
  interrupted: { epoch: number; request_ids: readonly string[] };
  cancelled: OfUtterance;
  playback_started: { request_id: string };
  playback_finished: { request_id: string; played_ms: number; interrupted: boolean };
  state: {
    state: string;
    request_id: string | null;
    position: number | null;
    epoch: number;
    recording: boolean;
    /** The server was started again; nothing was interrupted. */
    resumed?: true;
  };
  recording: { on: boolean; consent?: { given_at: string; purpose: string } };
  reset: object;
  closed: {
    reason: "deleted" | "expired" | "avatar_deleted" | "shutdown" | "gone" | "unknown";
    /** The next server goes on with the session, and the events with it. */
    resumable?: boolean;
  };
}

/** `id`: what `lastEventId` takes; some events have none. */
export type SessionEvent<T extends keyof EventFields = keyof EventFields> = {
  [K in T]: { readonly event: K; readonly id?: string } & Readonly<EventFields[K]>;
}[T];

export interface EventOptions extends Aborted {
  /** Begin after that event; without it, with what can be seen now. */
  readonly lastEventId?: string;
  readonly onConnected?: (isConnected: boolean) => void;
}

export declare class Session {
  /** `document`: as the server gave it. `createSession` and `openSession` are the usual ways. */
  constructor(parts: {
    server: string;
    document: object;
    token?: string | null;
    key?: string | null;
    fetch?: Fetch;
  });
  /** The server's address, with a slash at its end. */
  readonly server: string;
  /** What the server said, as it said it. */
  readonly document: Readonly<Record<string, unknown>>;
  readonly sessionId: string;
  readonly userId: string | null;
  /** The address of the player's page: for an iframe or a WebView. It works alone, for a while. */
  readonly playerUrl: string;
  /** Goes with all requests, unless there is a key; give it another before it expires. */
  token: string | null;
  /** The address of the HLS view. */
  readonly hlsUrl: string;
  readonly avatar: Avatar;
  readonly config: SessionConfig;
  /** Of a session that was created here: s without a viewer and without a request. */
  readonly expiresInSeconds?: number | undefined;

  /** Another token for this session, for who has a key: to look, unless it says which rights. */
  createToken(options?: TokenOptions): Promise<Token>;
  describe(options?: Aborted): Promise<Readonly<Record<string, unknown>>>;
  sendAudio(sound: Sound, options?: SendOptions): Promise<Spoken>;
  streamAudio(options: StreamOptions & { readonly source: AudioSource }): Promise<Spoken>;
  streamAudio(options: StreamOptions): Promise<AudioWriter>;
  /** `waitMs`: 0 to 10000, for how much was heard; 1000 by default. */
  interrupt(options?: Aborted & { readonly waitMs?: number }): Promise<Interruption>;
  cancel(requestId: string, options?: Aborted): Promise<void>;
  utterances(options?: Aborted): Promise<Utterance[]>;
  utterance(requestId: string, options?: Aborted): Promise<Utterance>;
  setCaptions(requestId: string, captions: Captions, options?: Aborted): Promise<void>;
  /** Ends after `closed`, when the loop is left, and when `signal` aborts. */
  events(options?: EventOptions): AsyncIterableIterator<SessionEvent>;
  close(): Promise<void>;
}

export declare function createSession(options: CreateOptions): Promise<Session>;
export declare function openSession(options: OpenOptions): Promise<Session>;
