// Follow an event stream with the npm `eventsource` client until a `complete` event; print what
// came, one JSON line each. Arguments: address, and after how many messages to break the
// connection once (0: never), so that the client has to reconnect by itself.
import { EventSource } from "eventsource";

const [address, breakAfter] = [process.argv[2], Number(process.argv[3] ?? 0)];
let received = 0;
let connections = 0;
let abort = null;

const source = new EventSource(address, {
  fetch: (input, init) => {
    connections += 1;
    const controller = new AbortController();
    init.signal?.addEventListener("abort", () => controller.abort());
    abort = () => controller.abort();
    return fetch(input, { ...init, signal: controller.signal }).then((response) => {
      if (connections > 1 || !breakAfter) return response;
      // A body that ends in mid-stream is what a broken connection looks like to the client.
      const body = response.body.pipeThrough(new TransformStream({
        transform(bytes, out) {
          if (received >= breakAfter) out.terminate();
          else out.enqueue(bytes);
        },
      }));
      return new Response(body, { status: response.status, headers: response.headers });
    });
  },
});
source.onmessage = (message) => {
  received += 1;
  const event = JSON.parse(message.data);
  process.stdout.write(JSON.stringify({ id: message.lastEventId, connections, ...event }) + "\n");
  if (event.event === "complete") {
    source.close();
    abort();
    process.exit(0);
  }
};
setTimeout(() => process.exit(3), 30000).unref();
