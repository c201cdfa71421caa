// What an app imports.

export { MuseTalkAvatar } from "./element.js";
