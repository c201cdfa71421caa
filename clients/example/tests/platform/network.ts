// Forms as React Native sends them: their parts are texts, or files by their addresses, and never
// a browser's `Blob`.

interface FilePart {
  readonly uri: string;
  readonly name: string;
  readonly type: string;
}

class NativeFormData {
  readonly parts: [name: string, value: string | FilePart][] = [];

  append(name: string, value: string | FilePart): void {
    if (typeof value !== "string" && !(value.uri && value.name && value.type)) {
      throw new TypeError("Unsupported FormDataPart implementation");
    }
    this.parts.push([name, value]);
  }
}

const WebFormData = globalThis.FormData;
const webFetch = globalThis.fetch;

async function bodyOf(form: NativeFormData): Promise<FormData> {
  const body = new WebFormData();
  for (const [name, value] of form.parts) {
    if (typeof value === "string") body.append(name, value);
    else {
      const bytes = await (await webFetch(value.uri)).arrayBuffer();
      body.append(name, new Blob([bytes], { type: value.type }), value.name);
    }
  }
  return body;
}

Object.assign(globalThis, {
  FormData: NativeFormData,
  fetch: async (input: RequestInfo, init: RequestInit = {}): Promise<Response> => {
    const { body } = init as { body?: unknown };
    if (!(body instanceof NativeFormData)) return webFetch(input, init);
    return webFetch(input, { ...init, body: await bodyOf(body) });
  },
});
