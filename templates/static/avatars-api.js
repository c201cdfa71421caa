// The requests of the page of avatars, one function each. Every failure is a Problem.

import { address } from "./address.js";
import { ask } from "../client/api/requests.js";
import { upload } from "../client/api/upload.js";

const FRESH = { cache: "no-store", headers: { Accept: "application/json" } };

export async function listAvatars() {
  return (await (await ask(address("avatars"), FRESH)).json()).avatars;
}

/** `force` ends the sessions that show it. */
export async function deleteAvatar(avatarId, force) {
  const query = force ? "?force=true" : "";
  await ask(address(`avatars/${avatarId}${query}`), { method: "DELETE" });
}

/** Send a photo or a video with what is asked for, texts and files; the job. See `upload`. */
export function createAvatar(file, fields, onProgress, signal) {
  const form = new FormData();
  // The server knows what it is for before the file comes.
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", file, file.name || "photo.jpg");
  return upload(address("avatars"), form, { onProgress, signal });
}

/** Newest first. */
export async function listJobs() {
  return (await (await ask(address("jobs"), FRESH)).json()).jobs;
}

/** Say yes with an empty hint; with another, the face is looked for again. The job. */
export async function approveJob(jobId, hint) {
  const response = await ask(address(`jobs/${jobId}/approve`), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(hint),
  });
  return response.json();
}

/** Cancel it, or forget it if it is over. One that is gone already is as good. */
export async function deleteJob(jobId) {
  try {
    await ask(address(`jobs/${jobId}`), { method: "DELETE", keepalive: true });
  } catch (problem) {
    if (problem.status !== 404) throw problem;
  }
}
