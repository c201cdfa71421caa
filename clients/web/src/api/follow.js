// The events of a session, one after the other, as an async iterator.

import { Access } from "../player/access.js";
import { EventConnection } from "../player/events.js";
import { Problem } from "./problem.js";

// Who reads this far behind is let catch up first: the server remembers what comes meanwhile.
const MAX_WAITING = 1000;

/**
 * See `Session.events`. The connection is closed when the loop is left or `signal` aborts.
 * `isPlain`: an EventSource of the browser will do, with `token()` in its address; `fetch` says who
 * asks by itself.
 */
export async function* follow({ sessionUrl, fetch, token, isPlain, signal, ...options }) {
  const { lastEventId = null, onConnected } = options;
  const EventSource = await eventSourceClass(fetch, isPlain);
  const waiting = [];
  let wake = () => {};
  let isOver = false;
  let isPaused = false;
  let problem = null;
  const connection = new EventConnection({
    url: `${sessionUrl}/events`,
    sessionUrl,
    fetch,
    lastId: lastEventId,
    EventSource,
    sign: EventSource === globalThis.EventSource ? new Access(token).sign : undefined,
    onEvent: (event, id) => {
      if (event.event !== "ping") waiting.push(id ? { ...event, id } : event);
      if (waiting.length >= MAX_WAITING) {
        isPaused = true;
        connection.close();
      }
      wake();
    },
    onConnected: (isConnected) => onConnected?.(isConnected),
    onGone: ({ reason }) => {
      waiting.push({ event: "closed", reason });
      isOver = true;
      wake();
    },
    onRefused: ({ message, ...why }) => {
      problem = new Problem({ title: "Not allowed.", detail: message, ...why });
      isOver = true;
      wake();
    },
  });
  const stop = () => wake();
  signal?.addEventListener("abort", stop);
  if (!signal?.aborted) connection.open();
  try {
    while (!signal?.aborted) {
      if (waiting.length > 0) yield waiting.shift();
      else if (problem) throw problem;
      else if (isOver) return;
      else if (isPaused) {
        isPaused = false;
        connection.open();
      } else {
        await new Promise((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    signal?.removeEventListener("abort", stop);
    connection.close();
  }
}

// Node has no EventSource, and a browser's can't be told how to ask; but answers can be read as
// they come.
async function eventSourceClass(fetch, isPlain) {
  if (globalThis.EventSource && isPlain) return globalThis.EventSource;
  if (globalThis.TextDecoderStream) {
    const { fetchingEventSource } = await import("./fetching-event-source.js");
    return fetchingEventSource(fetch);
  }
  throw new Problem({
    title: "No events.",
    detail: "There is no EventSource here: load one as a global, or use the player's messages.",
    code: "no_event_source",
  });
}
