// The integration that apps of WebRTC servers have: `createSession` and `sendAudio` are theirs, word
// for word but for the types. Arguments: address of the server, sound file. Prints what create
// answered; ends with 0 if the sound was taken.
import { readFile } from "node:fs/promises";

const BASE_URL = process.argv[2];

async function createSession() {
  const url = `${BASE_URL}/webrtc/sessions/create?avatar_id=test_avatar&user_id=user1&fps=10&playback_fps=15&batch_size=2&chunk_duration=2`;
  const res = await fetch(url, { method: "POST" });
  if (!res.ok) throw new Error("Create session failed");
  return res.json(); // { session_id, player_url, ice_servers, ... }
}

async function sendAudio(sessionId, fileUri) {
  const form = new FormData();
  form.append("audio_file", {
    uri: fileUri,
    type: "audio/mpeg",
    name: "tts.mpga",
  });

  const res = await fetch(`${BASE_URL}/webrtc/sessions/${sessionId}/stream`, {
    method: "POST",
    body: form,
  });
  if (!res.ok) throw new Error("Audio upload failed");
}

// React Native's FormData takes a file by its address.
const append = FormData.prototype.append;
const files = new Map();
FormData.prototype.append = function (field, { uri, name }) {
  append.call(this, field, files.get(uri), name);
};

const uri = process.argv[3];
files.set(uri, new Blob([await readFile(uri)], { type: "audio/mpeg" }));
const session = await createSession();
console.log(JSON.stringify(session));
await sendAudio(session.session_id, uri);
