// What the player says. docs/player.md has the table; a test compares it with the player itself.

export type PlayerState =
  | "loading"
  | "idle"
  | "preparing"
  | "speaking"
  | "buffering"
  | "closed"
  | "unsupported";
export type EndReason = "complete" | "interrupted" | "cancelled" | "error" | "empty" | "lost";
export type ClosedReason =
  | "deleted"
  | "expired"
  | "avatar_deleted"
  | "shutdown"
  | "gone"
  | "unknown";

/** Every type of message with the fields of its own. */
export interface MessageFields {
  ready: { avatar_id: string };
  state: { state: PlayerState; request_id: string | null };
  speech_started: { request_id: string; delay_ms: number; muted: boolean };
  speech_ended: { request_id: string; reason: EndReason; played_s: number; played_ms: number };
  connection: { connected: boolean };
  sound: { blocked: boolean };
  volume: { volume: number; muted: boolean };
  error: { code: string; message: string; request_id: string | null; retryable: boolean };
  recording: { on: boolean };
  retry: { request_id: string };
  closed: { reason: ClosedReason };
}

export type MessageType = keyof MessageFields;

/** One message, as `PlayerMessage<"ready">`, or any of them. */
export type PlayerMessage<T extends MessageType = MessageType> = {
  [type in T]: Readonly<
    { type: type; source: "musetalk-player"; session_id: string } & MessageFields[type]
  >;
}[T];

type Kind<Value> = null extends Value
  ? `${Kind<NonNullable<Value>>} or null`
  : Value extends string
    ? "string"
    : Value extends number
      ? "number"
      : "boolean";

/** The same for who has no types: what a message must have to be one. */
export const MESSAGE_FIELDS: {
  readonly [type in MessageType]: {
    readonly [name in keyof MessageFields[type]]: Kind<MessageFields[type][name]>;
  };
} = {
  ready: { avatar_id: "string" },
  state: { state: "string", request_id: "string or null" },
  speech_started: { request_id: "string", delay_ms: "number", muted: "boolean" },
  speech_ended: {
    request_id: "string",
    reason: "string",
    played_s: "number",
    played_ms: "number",
  },
  connection: { connected: "boolean" },
  sound: { blocked: "boolean" },
  volume: { volume: "number", muted: "boolean" },
  error: {
    code: "string",
    message: "string",
    request_id: "string or null",
    retryable: "boolean",
  },
  recording: { on: "boolean" },
  retry: { request_id: "string" },
  closed: { reason: "string" },
};

/** The message in what a page posted; null if it is none of this session, or of a type to come. */
export function parseMessage(text: string, sessionId: string): PlayerMessage | null {
  const message = parseObject(text);
  if (message?.source !== "musetalk-player" || message.session_id !== sessionId) return null;
  const fields = new Map(Object.entries(MESSAGE_FIELDS)).get(String(message.type));
  if (!fields) return null;
  const isWhole = Object.entries(fields).every(([name, kind]) => isOfKind(message[name], kind));
  return isWhole ? (message as unknown as PlayerMessage) : null;
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === "object" ? (parsed as Record<string, unknown> | null) : null;
  } catch {
    return null; // somebody else's
  }
}

function isOfKind(value: unknown, kind: string): boolean {
  if (value === null) return kind.endsWith(" or null");
  return typeof value === kind.split(" ")[0];
}
