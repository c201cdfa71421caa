// What is asked before a file is sent: the name of the avatar; how a video repeats, and whether
// another one is to be shown in silence.

import { fromTemplate } from "./elements.js";
import { fileProblem } from "./file-check.js";
import { nameOf } from "./job-words.js";

// A browser doesn't tell which of these do.
const MAY_MOVE = ["image/gif", "image/webp", "image/png", "image/apng", "image/avif"];

/**
 * `onSubmit({name, loop, idle})`, `idle` only if there is such a file. `answers`: those given
 * before, to be changed; a second video has to be chosen again. The form is `root`; `focus()` puts
 * the keyboard where it is wanted.
 */
export function draftForm(file, { limits, answers = null, onSubmit }) {
  const { root, parts } = fromTemplate("draft-form");
  parts.options.hidden = file.type.startsWith("image/") && !MAY_MOVE.includes(file.type);
  parts.options.open = answers !== null;
  parts.name.value = answers?.name ?? nameOf(file.name);
  parts.loop.value = answers?.loop ?? "auto";
  const idleProblem = () => {
    const [idle] = parts.idle.files;
    return idle ? fileProblem(idle, limits) : null;
  };
  parts.idle.addEventListener("change", () => tell(parts.problem, idleProblem()));
  root.addEventListener("submit", (event) => {
    event.preventDefault();
    if (idleProblem()) {
      parts.options.open = true;
      parts.idle.focus();
      return;
    }
    const [idle] = parts.idle.files;
    onSubmit({
      name: parts.name.value.trim() || nameOf(file.name),
      loop: parts.loop.value,
      ...(idle && { idle }),
    });
  });
  const focus = () => {
    if (answers) parts.idle.focus({ preventScroll: true });
    // A field under the cursor brings up a phone's keyboard, and the name may well be right.
    else if (matchMedia("(pointer: fine)").matches) parts.name.select();
    else parts.make.focus({ preventScroll: true });
  };
  return { root, focus };
}

function tell(element, problem) {
  element.hidden = problem === null;
  element.textContent = problem === null ? "" : `${problem.title} ${problem.detail}`;
}
