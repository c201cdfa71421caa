// The form of avatar and settings: built from what the server offers, read as what it takes.

export class SettingsForm {
  #form;
  #parts;
  #options;

  constructor(form, parts, { avatars, options, default_avatar: preset }) {
    this.#form = form;
    this.#parts = parts;
    this.#options = options;
    for (const { id, name } of avatars) {
      parts.avatar.append(new Option(name, id, id === preset, id === preset));
    }
    // Another name of one of them, or one that is gone: the server knows, and says so.
    if (!avatars.some(({ id }) => id === preset)) {
      parts.avatar.append(new Option(preset, preset, true, true));
    }
    parts.options.append(...options.map(field));
    this.onChange(() => this.#summarise());
    this.#summarise();
  }

  /** `act()` whenever a field has another value. */
  onChange(act) {
    this.#form.addEventListener("input", act);
    this.#form.addEventListener("reset", () => setTimeout(act)); // fields are reset afterwards
  }

  /** Settings for a new session; a field that was left empty is the server's to decide. */
  get values() {
    const entries = [["avatar_id", this.#parts.avatar.value]];
    for (const { name } of this.#options) {
      const { value } = this.#form.elements[name];
      if (value !== "" && name !== "trailing_silence") entries.push([name, Number(value)]);
    }
    return Object.fromEntries(entries);
  }

  /** What an upload asks for besides its sound, as a query. */
  get uploadQuery() {
    const query = new URLSearchParams({ on_busy: this.#form.elements.on_busy.value });
    const { value } = this.#form.elements.trailing_silence;
    if (value !== "" && value !== "0") query.set("trailing_silence", value);
    return query;
  }

  /** The fields' own complaint, if any, is shown by the browser. */
  get isValid() {
    return this.#form.reportValidity();
  }

  #summarise() {
    const { fps, chunk_duration: chunk } = this.#form.elements;
    const words = [this.#parts.avatar.selectedOptions[0]?.text];
    // A value that will be refused is no setting.
    if (fps?.validity.valid) words.push(`${fps.value || fps.placeholder} fps`);
    if (chunk?.validity.valid) words.push(`${chunk.value || chunk.placeholder} s chunks`);
    this.#parts.summary.textContent = words.filter(Boolean).join(" · ");
  }
}

function field({ name, label, help, default: preset, min, max, step }) {
  const input = Object.assign(document.createElement("input"), {
    type: "number",
    name,
    min,
    max,
    step: step ?? "any",
    placeholder: preset ?? "auto",
    defaultValue: preset ?? "",
    inputMode: "decimal",
  });
  const title = Object.assign(document.createElement("span"), { textContent: label });
  const hint = Object.assign(document.createElement("small"), { textContent: help });
  const wrapper = Object.assign(document.createElement("label"), { className: "field" });
  wrapper.append(title, input, hint);
  return wrapper;
}
