// Whether the app is before its user.

import { useEffect, useState } from "react";
import { AppState } from "react-native";

export function useIsForeground(): boolean {
  // "inactive" is an iPhone's moment between the two, or its control centre over the app.
  const [isForeground, setIsForeground] = useState(AppState.currentState !== "background");
  useEffect(() => {
    const take = (state: string): void => setIsForeground(state !== "background");
    const listening = AppState.addEventListener("change", take);
    take(AppState.currentState); // it may have changed since the first render
    return () => listening.remove();
  }, []);
  return isForeground;
}
