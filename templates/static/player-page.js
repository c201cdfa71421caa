// The page of a player: the element, and the app around the page.

import "../client/element.js";
import "../client/player/player.js"; // which the element loads later: here at once
import { MESSAGES, isEmbedded, makeBridge } from "../client/player/bridge.js";
import { takeCommands } from "../client/player/commands.js";
import { OPTIONS } from "../client/player/options.js";

const { session } = JSON.parse(document.getElementById("config").textContent);
const avatar = document.querySelector("musetalk-avatar");
const post = makeBridge(session.session_id);

for (const type of Object.keys(MESSAGES)) {
  avatar.addEventListener(type, ({ detail }) => post(type, detail));
}
takeCommands({
  interrupt: () => avatar.interrupt(),
  set(chosen) {
    avatar.set(chosen);
    showBehind();
    if (chosen.token) keepToken(chosen.token);
  },
});
for (const [name, value] of new URLSearchParams(location.search)) {
  if (name in OPTIONS) avatar.setAttribute(name, value);
}
avatar.token = new URLSearchParams(location.search).get("token");
showBehind();
Object.defineProperty(window, "musetalkPlayer", { get: () => avatar.debug });
avatar.toggleAttribute("standalone", !isEmbedded());
avatar.session = session;

// The page can be loaded again for as long as the token counts.
function keepToken(token) {
  const url = new URL(location.href);
  url.searchParams.set("token", token);
  history.replaceState(null, "", url);
}

// With another background, what the app has behind the page is seen.
function showBehind() {
  document.documentElement.classList.toggle("clear", avatar.options.background !== null);
}
