// The page of a session that isn't there, or isn't to be seen by who asks, to an app: the same
// `closed`, or `error`, that the player would send.

import { isEmbedded, makeBridge } from "../client/player/bridge.js";
import { takeCommands } from "../client/player/commands.js";

const REASONS = { 404: "unknown", 410: "gone" };

const { status, code, detail } = document.getElementById("problem").dataset;
const [, sessionId] = /\/player\/session\/([^/]+)/.exec(location.pathname) ?? [];
if (sessionId && status in REASONS) makeBridge(sessionId)("closed", { reason: REASONS[status] });
if (sessionId && ["401", "403"].includes(status)) askForToken();

// An app that has a token for the session says so, and the page is the player's.
function askForToken() {
  takeCommands({
    interrupt() {},
    set({ token }) {
      if (!token) return;
      const url = new URL(location.href);
      url.searchParams.set("token", token);
      location.replace(url);
    },
  });
  const fields = { code, message: detail, request_id: null, retryable: false };
  makeBridge(sessionId)("error", fields);
}
// An app has a way on of its own.
document.getElementById("start-new").hidden = isEmbedded();
