// How the app looks.

import { Platform, StatusBar } from "react-native";

export const colors = {
  background: "#101218",
  surface: "#1b1f2a",
  line: "#2c3242",
  text: "#f2f4f8",
  faint: "#98a1b3",
  accent: "#6c8cff",
  onAccent: "#0b1020",
  danger: "#ff6b6b",
} as const;

/** Below clock and camera. */
export const TOP = Platform.select({
  ios: 54,
  android: (StatusBar.currentHeight ?? 24) + 8,
  default: 16,
});
/** Above the line that an iPhone has for a home button. */
export const BOTTOM = Platform.select({ ios: 34, default: 16 });
