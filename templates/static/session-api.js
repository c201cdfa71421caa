// The requests of the start page, one function each. Every failure is a Problem.

import { address } from "./address.js";
import { ask, upload } from "./requests.js";

export async function createSession(settings) {
  const response = await ask(address("sessions/create"), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(settings),
  });
  return response.json();
}

export async function getSession(sessionId) {
  return (await ask(address(`sessions/${sessionId}`), { cache: "no-store" })).json();
}

/** Silence at once; the answer says what was interrupted. */
export async function interruptSession(session) {
  return (await ask(session.interrupt_url, { method: "POST" })).json();
}

/** Survives the page that asks for it. */
export async function deleteSession(sessionId) {
  await ask(address(`sessions/${sessionId}`), { method: "DELETE", keepalive: true });
}

/** Upload a sound; `onProgress(fraction)`. */
export function uploadSound(url, file, onProgress) {
  const form = new FormData();
  form.append("audio_file", file, file.name || "recording.webm");
  return upload(url, form, onProgress);
}
