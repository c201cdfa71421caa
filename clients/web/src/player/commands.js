// What an app that embeds the player may ask of it. docs/player.md has the table.

import { OPTIONS } from "./options.js";

/** Every command with its own fields; a test compares it with the documentation. */
export const COMMANDS = Object.freeze({
  __proto__: null,
  interrupt: [],
  set: [...Object.keys(OPTIONS), "token"],
});

/** `act[type](fields)` for each command of the page around us or of the app that we are in. */
export function takeCommands(act) {
  const take = ({ data, source }) => {
    // An app's own messages come from nowhere, or from this window.
    const isFromApp = source === null ? Boolean(window.ReactNativeWebView) : source === window.parent;
    const command = isFromApp ? parse(data) : null;
    const { target, type, ...fields } = command ?? {};
    if (target !== "musetalk-player" || !(type in COMMANDS)) return;
    act[type](fields);
  };
  window.addEventListener("message", take);
  document.addEventListener("message", take); // Android
}

function parse(data) {
  if (typeof data !== "string") return data;
  try {
    return JSON.parse(data);
  } catch {
    return null; // somebody else's
  }
}
