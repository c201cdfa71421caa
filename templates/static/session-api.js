// The requests of the start page, one function each. Every failure is a Problem.

import { parseProblem, unreachable } from "./problem.js";

export async function createSession(settings) {
  const response = await ask("/sessions/create", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(settings),
  });
  return response.json();
}

export async function getSession(sessionId) {
  return (await ask(`/sessions/${sessionId}`, { cache: "no-store" })).json();
}

/** Survives the page that asks for it. */
export async function deleteSession(sessionId) {
  await ask(`/sessions/${sessionId}`, { method: "DELETE", keepalive: true });
}

async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw unreachable();
  }
  if (!response.ok) throw parseProblem(response.status, await response.text());
  return response;
}

/** Upload a sound; `onProgress(fraction)`. `fetch` can't tell how far an upload is. */
export function uploadSound(url, file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    };
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(parseProblem(request.status, request.responseText));
    };
    request.onerror = () => reject(unreachable());
    const form = new FormData();
    form.append("audio_file", file, file.name || "recording.webm");
    request.send(form);
  });
}
