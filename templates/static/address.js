// Addresses of the server, which may be below a path of a proxy that stands before it.

const HOME = new URL("..", import.meta.url);

/** `path` without a slash before it; "" is the start page. */
export const address = (path) => new URL(path, HOME).href;
