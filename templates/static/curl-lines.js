// The session that is open, as commands for a terminal.

/**
 * `[what it does, the command]`, in the order in which one would use them. `server`: its address,
 * with the slash at the end; `says`: what tells it who asks, or nothing.
 */
export function curlLines(server, session, settings, upload, says = "") {
  const query = new URLSearchParams(settings);
  const base = `${server}sessions/${session.sessionId}`;
  const live = `-T - -H "Content-Type: audio/L16;rate=24000"`;
  return [
    ["Speak", `curl${says} -X POST "${base}/stream?${upload}" -F "audio_file=@speech.mp3"`],
    ["Speak what arrives", `your-tts | curl${says} -X POST ${live} "${base}/audio?${upload}"`],
    ["Interrupt", `curl${says} -X POST "${base}/interrupt"`],
    ["Watch the events", `curl${says} -N "${base}/events"`],
    ["Look at the session", `curl${says} "${base}"`],
    ["Look at all of them", `curl${says} "${server}sessions/stats"`],
    ["Create another", `curl${says} -X POST "${server}sessions/create?${query}"`],
    ["Delete it", `curl${says} -X DELETE "${base}"`],
  ];
}

export function showCurlLines(list, lines) {
  list.replaceChildren(...lines.map(([title, command]) => line(title, command)));
}

function line(title, command) {
  const row = document.createElement("li");
  const name = Object.assign(document.createElement("span"), { textContent: title });
  const code = Object.assign(document.createElement("code"), { textContent: command, tabIndex: 0 });
  const copy = Object.assign(document.createElement("button"), {
    type: "button",
    className: "button plain small",
    textContent: "Copy",
    ariaLabel: `Copy: ${title}`,
  });
  copy.addEventListener("click", () => copyText(code, copy));
  row.append(name, copy, code);
  return row;
}

async function copyText(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  } catch {
    getSelection().selectAllChildren(code); // no clipboard here: one key is left to press
  }
}
