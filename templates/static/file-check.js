// May a file be sent? What the server would refuse of any file is said before it is sent.

import { fileSize } from "./job-words.js";
import { Problem } from "../client/api/problem.js";

/** The problem with `file`, in the server's codes; else null. */
export function fileProblem({ size }, { max_avatar_bytes: limit }) {
  if (size === 0) {
    const [title, detail] = ["The file is empty.", "Choose another one."];
    return new Problem({ title, detail, code: "empty_media", status: 422 });
  }
  if (size > limit) {
    const detail = `${fileSize(size)} is more than the ${fileSize(limit)} that are taken here.`;
    return new Problem({ title: "File too large.", detail, code: "upload_too_large", status: 413 });
  }
  return null;
}
