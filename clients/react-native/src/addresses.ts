// Where the pages of a server are. React Native's own `URL` does not know the parts of an address.

/** What `createSession` answered, as your server passes it on, or a session's id. */
export type SessionRef =
  | string
  | {
      readonly session_id: string;
      /** Where not everybody may do everything: for all that the session is asked for. */
      readonly token?: string | undefined;
      /** Whose token, if it has one, is the page's: to see, and to interrupt. */
      readonly player_url?: string | undefined;
    };

const ADDRESS = /^(https?:\/\/(?:[\w.-]+|\[[\da-f:.]+\])(?::\d+)?)(\/[\w.~!$&'()*+,;=:@%/-]*)?$/i;

/** The scheme and host of a server, and the path that it is mounted at. Throws `TypeError`. */
function partsOf(server: string): { origin: string; base: string } {
  const match = ADDRESS.exec(server.trim());
  const origin = match?.[1];
  if (!origin) {
    const hint = /[^\0-\x7f]/.test(server)
      ? "other letters are written as xn--… in a host and %C3%BC in a path"
      : "https://avatar.example.com is one";
    throw new TypeError(`"${server}" is no address of a server: ${hint}`);
  }
  return { origin: plainOrigin(origin), base: (match[2] ?? "").replace(/\/+$/, "") };
}

/** As a WebView writes it: in small letters, and without the port that its scheme has anyway. */
function plainOrigin(origin: string): string {
  return origin.toLowerCase().replace(/^(http:\/\/.*):80$|^(https:\/\/.*):443$/, "$1$2");
}

export function idOf(session: SessionRef): string {
  return typeof session === "string" ? session : session.session_id;
}

/** What lets an app do something with a session; null where it has only the id. */
export function tokenOf(session: SessionRef): string | null {
  return (typeof session === "object" && session.token) || null;
}

/** What lets the page of a session in. */
export function pageTokenOf(session: SessionRef): string | null {
  const address = typeof session === "object" ? session.player_url : undefined;
  const [, inAddress] = /[?&]token=([^&#]+)/.exec(address ?? "") ?? [];
  return inAddress ? decodeURIComponent(inAddress) : tokenOf(session);
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
  const address = addressOf(server, `/player/session/${encodeURIComponent(idOf(session))}`);
  return query ? `${address}?${query}` : address;
}

/** Whether an address is one of this server's. */
export function isOfServer(server: string, url: string): boolean {
  const { origin, base } = partsOf(server);
  const [, its = "", rest = ""] = /^([a-z][a-z0-9+.-]*:\/\/[^/?#]*)(.*)$/i.exec(url) ?? [];
  if (plainOrigin(its) !== origin) return false;
  const path = rest.split(/[?#]/)[0] ?? "";
  // No way out of the path by "..", whatever a WebView makes of it.
  if (/(^|\/|\\|%2f)(\.|%2e){2}(\/|\\|%2f|$)/i.test(path)) return false;
  return path === base || path.startsWith(`${base}/`);
}
