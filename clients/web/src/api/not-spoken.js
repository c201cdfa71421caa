// Why sound is not, or no longer, spoken.

import { sentence } from "../player/words.js";
import { Problem } from "./problem.js";

export function notSpoken(detail, { code, status, retryable }) {
  return new Problem({ title: "Not spoken.", detail: sentence(detail), code, status, retryable });
}

export function aborted() {
  return notSpoken("It was aborted", { code: "aborted" });
}
