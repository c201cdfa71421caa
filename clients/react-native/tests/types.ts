// What must be, and what must not be, a type of this package: looked at by the compiler alone.

import {
  Problem,
  sendAudio,
  type AvatarError,
  type AvatarHandle,
  type AvatarViewProps,
  type PlayerMessage,
  type Session,
} from "@musetalk-stream/react-native";

export const props: AvatarViewProps = {
  server: "https://avatar.example.com",
  session: { session_id: "3f2a", token: "of your server", player_url: "/player/session/3f2a?token=x" },
  token: "another one",
  onRecording: ({ on }) => on === true,
  options: { volume: 0.5, crop: [0, 0, 1, 0.5], fit: "cover", background: null },
  onStateChange: ({ state, request_id }) => [state === "speaking", request_id?.length],
  onSpeechEnded: ({ reason, played_ms }) => [reason === "interrupted", played_ms.toFixed()],
  webViewProps: { ignoreSilentHardwareSwitch: true, onLoadEnd: () => undefined },
};

export function describe({ avatar, hls_url }: Session): string {
  return `${avatar.name}, ${avatar.width / avatar.height}, ${hls_url.length}`;
}

export function delayMs(error: unknown): number | null {
  if (!(error instanceof Problem) || !error.retryable) return null;
  return 1000 * (error.retryAfterS ?? 1);
}

export function words(error: AvatarError): string {
  if (error.type === "error") return `${error.code} ${error.request_id ?? ""}`;
  return error.will_retry ? "trying again" : `${error.code} ${error.status ?? ""}`;
}

export function use(handle: AvatarHandle, message: PlayerMessage): void {
  handle.set({ muted: true });
  // @ts-expect-error: no such option
  handle.set({ loudness: 1 });
  // @ts-expect-error: not every message has a state
  void message.state;
  if (message.type === "speech_started") void message.delay_ms.toFixed();
  // @ts-expect-error: no such type of message
  if (message.type === "speaking") void message;
  // @ts-expect-error: none of the three ways
  void sendAudio("https://a.example", "3f2a", "file:///a.wav", { on_busy: "wait" });
  // @ts-expect-error: the address of the page is the view's own affair
  props.webViewProps?.source;
  // @ts-expect-error: and so is what becomes of its failures
  props.webViewProps?.onError;
}

// @ts-expect-error: there is no avatar without a session
export const incomplete: AvatarViewProps = { server: "https://avatar.example.com" };
