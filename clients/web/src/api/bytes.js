// Bytes, however they come.

/** The bytes of an `ArrayBuffer` or of any view of one, not copied. */
export function viewOf(bytes) {
  if (!ArrayBuffer.isView(bytes)) return new Uint8Array(bytes);
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
