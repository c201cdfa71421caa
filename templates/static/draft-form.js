// What is asked before a file is sent: the name of the avatar; how a video repeats, and whether
// another one is to be shown in silence.

import { fromTemplate } from "./elements.js";
import { nameOf } from "./job-words.js";

/** `onSubmit({name, loop, idle})`, `idle` only if there is such a file. The form is `root`; `focus()` puts the keyboard where it is wanted. */
export function draftForm(file, onSubmit) {
  const { root, parts } = fromTemplate("draft-form");
  const isStill = file.type.startsWith("image/") && file.type !== "image/gif";
  parts.options.hidden = isStill;
  parts.name.value = nameOf(file.name);
  root.addEventListener("submit", (event) => {
    event.preventDefault();
    const [idle] = parts.idle.files;
    onSubmit({
      name: parts.name.value.trim() || nameOf(file.name),
      loop: parts.loop.value,
      ...(idle && { idle }),
    });
  });
  const focus = () => {
    // A field under the cursor brings up a phone's keyboard, and the name may well be right.
    if (matchMedia("(pointer: fine)").matches) parts.name.select();
    else parts.make.focus({ preventScroll: true });
  };
  return { root, focus };
}
