// What an app imports where there is no page: Node, React Native, a worker.

export { Problem } from "./api/problem.js";
export { Session, createSession, openSession } from "./api/session.js";
