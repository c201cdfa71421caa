// The requests of the page of avatars, one function each. Every failure is a Problem.

import { address } from "./address.js";
import { currentKey, fetchWithKey } from "./key.js";
import { ask, askJson, fetchAs } from "../client/api/requests.js";
import { uploadingFetch } from "../client/api/upload.js";

const FRESH = { cache: "no-store", headers: { Accept: "application/json" } };

export async function listAvatars() {
  return (await askJson(address("avatars"), FRESH, fetchWithKey)).avatars;
}

/** `force` ends the sessions that show it. */
export async function deleteAvatar(avatarId, force) {
  const query = force ? "?force=true" : "";
  await ask(address(`avatars/${avatarId}${query}`), { method: "DELETE" }, fetchWithKey);
}

/** Send a photo or a video with what is asked for, texts and files; the job. */
export function createAvatar(file, fields, onProgress, signal) {
  const form = new FormData();
  // The server knows what it is for before the file comes.
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", file, file.name || "photo.jpg");
  const request = { method: "POST", headers: {}, body: form, signal };
  const upload = fetchAs(currentKey, uploadingFetch(onProgress));
  return askJson(address("avatars"), request, upload);
}

/** Newest first. */
export async function listJobs() {
  return (await askJson(address("jobs"), FRESH, fetchWithKey)).jobs;
}

/** Say yes with an empty hint; with another, the face is looked for again. The job. */
export async function approveJob(jobId, hint) {
  const headers = { "Content-Type": "application/json" };
  const request = { method: "POST", headers, body: JSON.stringify(hint) };
  return askJson(address(`jobs/${jobId}/approve`), request, fetchWithKey);
}

/** Cancel it, or forget it if it is over. One that is gone already is as good. */
export async function deleteJob(jobId) {
  try {
    await ask(address(`jobs/${jobId}`), { method: "DELETE", keepalive: true }, fetchWithKey);
  } catch (problem) {
    if (problem.status !== 404) throw problem;
  }
}
