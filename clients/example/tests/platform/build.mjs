// Builds the example for a browser: node build.mjs FOLDER. What a phone has besides a browser is
// played by the modules in this folder.

import { copyFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const outdir = process.argv[2];
if (!outdir) throw new Error("node build.mjs FOLDER");

await build({
  absWorkingDir: here, // from where aliases are looked for
  entryPoints: ["main.tsx"],
  outdir,
  bundle: true,
  format: "iife",
  target: "es2022",
  loader: { ".mp3": "file" },
  publicPath: "/",
  jsx: "automatic",
  minify: true,
  define: { "process.env.NODE_ENV": '"production"', __DEV__: "false", global: "globalThis" },
  alias: {
    "react-native": "react-native-web",
    "react-native-webview": join(here, "webview.tsx"),
    "expo-asset": join(here, "expo-asset.ts"),
    "expo-document-picker": join(here, "expo-document-picker.ts"),
  },
  logLevel: "warning",
});
await copyFile(join(here, "index.html"), join(outdir, "index.html"));
