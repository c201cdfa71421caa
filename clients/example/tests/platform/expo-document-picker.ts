// The system's dialog that lets somebody choose a file.

import type { DocumentPickerOptions, DocumentPickerResult } from "expo-document-picker";

export function getDocumentAsync({ type }: DocumentPickerOptions): Promise<DocumentPickerResult> {
  const input = Object.assign(document.createElement("input"), { type: "file", accept: type });
  return new Promise((resolve) => {
    input.addEventListener("cancel", () => resolve({ canceled: true, assets: null }));
    input.addEventListener("change", () => {
      const [file] = input.files ?? [];
      if (!file) return;
      const { name, lastModified, size, type: mimeType } = file;
      const uri = URL.createObjectURL(file);
      resolve({ canceled: false, assets: [{ uri, name, mimeType, lastModified, size }] });
    });
    input.click();
  });
}
