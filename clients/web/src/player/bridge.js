// What the player tells an app that embeds it: one message, two ways. docs/player.md has the table.

/** Every message type with its own fields; a test compares it with the documentation. */
export const MESSAGES = Object.freeze({
  ready: ["avatar_id"],
  state: ["state", "request_id"],
  speech_started: ["request_id", "delay_ms", "muted"],
  speech_ended: ["request_id", "reason", "played_s", "played_ms"],
  connection: ["connected"],
  sound: ["blocked"],
  volume: ["volume", "muted"],
  error: ["code", "message", "request_id", "retryable"],
  recording: ["on"],
  retry: ["request_id"],
  closed: ["reason"],
});

/** Whether somebody is there to hear us. */
export function isEmbedded() {
  return window.parent !== window || Boolean(window.ReactNativeWebView);
}

export function makeBridge(sessionId) {
  return function post(type, fields) {
    if (!(type in MESSAGES)) throw new Error(`undocumented message ${type}`);
    const message = { source: "musetalk-player", type, session_id: sessionId, ...fields };
    // Any page may embed the player, and the messages hold nothing that lets anybody in.
    if (window.parent !== window) window.parent.postMessage(message, "*");
    window.ReactNativeWebView?.postMessage(JSON.stringify(message));
  };
}
