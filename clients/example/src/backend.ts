// What your own server does for the app: it has the API key of the avatar's server, and hands the
// app one session and what lets it in. This stands in for it, so that the example can be tried
// without one: an app that people get must never have a key.

import { createSession, type Session } from "@musetalk-stream/react-native";

export interface Choice {
  readonly server: string;
  readonly avatarId: string;
  /** Empty on a server that has no keys. */
  readonly apiKey: string;
}

/** What your server answers when the app wants to talk. */
export async function beginTalk({ server, avatarId, apiKey }: Choice): Promise<Session> {
  const avatar = avatarId.trim();
  const settings = avatar ? { avatar_id: avatar } : {};
  return createSession(server, settings, apiKey ? { authorization: bearer(apiKey) } : {});
}

/** What it answers when the token that the app had for the page is used up. */
export async function renewToken({ server, apiKey }: Choice, session: Session): Promise<string> {
  const address = `${server.replace(/\/+$/, "")}/sessions/${session.session_id}/tokens`;
  const answer = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: bearer(apiKey) },
    body: JSON.stringify({ rights: ["view", "interrupt"] }),
  });
  if (!answer.ok) throw new Error(`No other token was given: ${answer.status}.`);
  return ((await answer.json()) as { token: string }).token;
}

function bearer(key: string): string {
  return `Bearer ${key.trim()}`;
}
