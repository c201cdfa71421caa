// <musetalk-avatar>. Its events are the player's messages (docs/player.md), in `detail`.

import type { Session } from "./api.js";

export type PlayerState =
  | "loading"
  | "idle"
  | "preparing"
  | "speaking"
  | "buffering"
  | "closed"
  | "unsupported";

/** Every message with the fields of its own. */
export interface MessageFields {
  ready: { avatar_id: string };
  state: { state: PlayerState; request_id: string | null };
  speech_started: { request_id: string; delay_ms: number; muted: boolean };
  speech_ended: {
    request_id: string;
    reason: "complete" | "interrupted" | "cancelled" | "error" | "empty" | "lost";
    played_s: number;
    played_ms: number;
  };
  connection: { connected: boolean };
  sound: { blocked: boolean };
  volume: { volume: number; muted: boolean };
  error: { code: string; message: string; request_id: string | null; retryable: boolean };
  /** What is said is kept, with somebody's consent; or is no longer. */
  recording: { on: boolean };
  retry: { request_id: string };
  closed: { reason: "deleted" | "expired" | "avatar_deleted" | "shutdown" | "gone" | "unknown" };
}

/** What an app may choose: attributes of the element, and fields of `set`. */
export interface AvatarOptions {
  /** 0 to 1; iPhones have their own. */
  volume?: number | null;
  muted?: boolean | null;
  captions?: boolean | null;
  visualizer?: boolean | null;
  controls?: boolean | null;
  /** `transparent`, or `#rrggbb`. */
  background?: string | null;
  /** The colour to key out, `#rrggbb`. */
  key?: string | null;
  fit?: "auto" | "cover" | "contain" | null;
  /** `x,y,width,height` as fractions of the picture. */
  crop?: string | null;
  /** `none`, or an address. */
  poster?: string | null;
}

export type AvatarEventMap = {
  [T in keyof MessageFields]: CustomEvent<Readonly<MessageFields[T]>>;
};

/** The names of the player's messages win over those of the document's own events. */
type Events = Omit<HTMLElementEventMap, keyof MessageFields> & AvatarEventMap;

export declare class MuseTalkAvatar extends HTMLElement {
  /** What `createSession` gave, the document of a session as the server gave it, its id, or null. */
  get session(): Session | SessionDocument | string | null;
  set session(session: Session | SessionDocument | string | null | undefined);
  /** The server's: of the session, of the attribute, or where this module came from; else null. */
  get server(): string | null;
  set server(address: string | null | undefined);
  /** What lets it in where not everybody may: of the session, unless it was set. May be replaced. */
  get token(): string | null;
  set token(token: string | null | undefined);
  /** docs/player.md, "Debugging"; null before there is a session. */
  readonly debug: Readonly<Record<string, unknown>> | null;
  readonly options: Readonly<AvatarOptions>;
  /** Choose; null is the default. */
  set(chosen: AvatarOptions & { token?: string | null }): void;
  /** Stop everything that is said, and what waits. */
  interrupt(): Promise<void>;

  addEventListener<T extends keyof Events>(
    type: T,
    listener: (this: MuseTalkAvatar, event: Events[T]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<T extends keyof Events>(
    type: T,
    listener: (this: MuseTalkAvatar, event: Events[T]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** Of `POST /sessions/create` or `GET /sessions/{id}`. */
export interface SessionDocument {
  readonly session_id: string;
  readonly avatar: object;
  readonly token?: string | null;
}

declare global {
  interface HTMLElementTagNameMap {
    "musetalk-avatar": MuseTalkAvatar;
  }
}
