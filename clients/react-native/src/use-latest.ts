// What the latest render was given, for who is called between renders.

import { useLayoutEffect, useRef, type RefObject } from "react";

export function useLatest<T>(value: T): Readonly<RefObject<T>> {
  const latest = useRef(value);
  useLayoutEffect(() => {
    latest.current = value;
  });
  return latest;
}
