// The page of a session that isn't there, to an app: the same `closed` that the player would send.

import { isEmbedded, makeBridge } from "../client/player/bridge.js";

const REASONS = { 404: "unknown", 410: "gone" };

const { status } = document.getElementById("problem").dataset;
const [, sessionId] = /\/player\/session\/([^/]+)/.exec(location.pathname) ?? [];
if (sessionId && status in REASONS) makeBridge(sessionId)("closed", { reason: REASONS[status] });
// An app has a way on of its own.
document.getElementById("start-new").hidden = isEmbedded();
