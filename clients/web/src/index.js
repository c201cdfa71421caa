// What an app imports.

export { Problem, Session, createSession, openSession } from "./api.js";
export { MuseTalkAvatar } from "./element.js";
