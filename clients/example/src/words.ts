// What happened, for who uses the app.

import type { AvatarError, ClosedReason, PlayerState } from "@musetalk-stream/react-native";

export const STATE_WORDS: Readonly<Record<PlayerState, string>> = {
  loading: "Coming…",
  idle: "Listening",
  preparing: "Thinking…",
  speaking: "Speaking",
  buffering: "One moment…",
  closed: "Gone",
  unsupported: "This device can't play the avatar",
};

export const CLOSED_WORDS: Readonly<Record<ClosedReason, string>> = {
  deleted: "The conversation was ended.",
  expired: "The conversation was ended, as nobody was there for a while.",
  avatar_deleted: "This avatar is not there any more.",
  shutdown: "The conversation ended with its server.",
  gone: "The conversation is over.",
  unknown: "The server does not know this conversation any more.",
};

export function wordsOf(error: unknown): string {
  return sentence(error instanceof Error ? error.message : String(error));
}

export function wordsOfAvatar(error: AvatarError): string {
  if (error.type === "view_error" && error.will_retry) {
    return `${sentence(error.message)} Trying again…`;
  }
  return sentence(error.message);
}

function sentence(text: string): string {
  const words = text.trim();
  return words.charAt(0).toUpperCase() + words.slice(1) + (/[.!?…]$/.test(words) ? "" : ".");
}
