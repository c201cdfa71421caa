// Names and addresses: the wire's, and those of JavaScript.

const ORIGIN = /^https?:\/\/[^/?#]+/i;

/** A server's address with a slash at its end; on a page, `server` may be relative to that. */
export function addressOf(server) {
  const base = globalThis.document?.baseURI;
  const address = base ? new URL(server, base).href : String(server);
  if (!ORIGIN.test(address)) throw new TypeError(`"${server}" is no address of a server`);
  return address.replace(/[?#].*$/, "").replace(/\/*$/, "/");
}

/** `{batchSize: 2}` as `{batch_size: 2}`; what is undefined is left out. */
export function toWire(options) {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [snake(name), value]));
}

/** A query, with its question mark if there is something to ask for. */
export function query(options) {
  const pairs = Object.entries(toWire(options));
  const text = pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
  return text && `?${text}`;
}

/** What the server said, in names of JavaScript and with whole addresses. */
export function fromWire(document, server) {
  if (Array.isArray(document)) return document.map((each) => fromWire(each, server));
  if (document === null || typeof document !== "object") return document;
  const [origin] = ORIGIN.exec(server);
  return Object.fromEntries(
    Object.entries(document).map(([name, value]) => {
      const isPath = name.endsWith("_url") && typeof value === "string" && value.startsWith("/");
      return [camel(name), isPath ? origin + value : fromWire(value, server)];
    }),
  );
}

const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
