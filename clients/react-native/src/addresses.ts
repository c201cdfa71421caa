// Where the pages of a server are. React Native's own `URL` does not know the parts of an address.

/** What `createSession` answered, or a session's id. */
export type SessionRef = string | { readonly session_id: string; readonly player_url?: string };

const ADDRESS = /^(https?:\/\/[^/?#\s@]+)(\/[^?#\s]*)?$/i;

/** The scheme and host of a server, and the path that it is mounted at. Throws `TypeError`. */
function partsOf(server: string): { origin: string; base: string } {
  const match = ADDRESS.exec(server.trim());
  const origin = match?.[1];
  if (!origin) {
    throw new TypeError(`"${server}" is no address of a server, as https://avatar.example.com is`);
  }
  return { origin: origin.toLowerCase(), base: (match[2] ?? "").replace(/\/+$/, "") };
}

export function idOf(session: SessionRef): string {
  return typeof session === "string" ? session : session.session_id;
}

/** The address of one of the server's own paths, as `/sessions/create`. */
export function addressOf(server: string, path: string): string {
  const { origin, base } = partsOf(server);
  return origin + base + path;
}

/** The address of what a session has, as `/interrupt`. */
export function sessionAddress(server: string, session: SessionRef, path = ""): string {
  return addressOf(server, `/sessions/${encodeURIComponent(idOf(session))}${path}`);
}

/** The address of a session's player page. `query` without the question mark. */
export function playerAddress(server: string, session: SessionRef, query = ""): string {
  // Paths that the server itself names begin with the path that it is mounted at.
  const named = typeof session === "string" ? undefined : session.player_url;
  const address = named
    ? partsOf(server).origin + named
    : addressOf(server, `/player/session/${encodeURIComponent(idOf(session))}`);
  return query ? `${address}?${query}` : address;
}

/** Whether an address is one of this server's. */
export function isOfServer(server: string, url: string): boolean {
  const { origin, base } = partsOf(server);
  const match = /^([a-z][a-z0-9+.-]*:\/\/[^/?#]*)(.*)$/i.exec(url);
  if (match?.[1]?.toLowerCase() !== origin) return false;
  const path = (match[2] ?? "").split(/[?#]/)[0] ?? "";
  // No way out of the path by "..", whatever a WebView makes of it.
  if (/(^|\/|\\|%2f)(\.|%2e){2}(\/|\\|%2f|$)/i.test(path)) return false;
  return path === base || path.startsWith(`${base}/`);
}
