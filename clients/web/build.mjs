// Makes `dist/` of `src/`: one file for each way in, and one for each thing that is loaded later.
// Prints what each of them weighs.

import { readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build, transform } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const OUT = join(HERE, "dist");
const WAYS_IN = ["index", "api", "element"];

// CSS and HTML are strings to a bundler; their spaces would be shipped.
const textOfModules = {
  name: "text-of-modules",
  setup({ onLoad }) {
    onLoad({ filter: /player\/(style|markup)\.js$/ }, async ({ path }) => {
      const lines = [];
      for (const [name, text] of Object.entries(await import(path))) {
        const small = path.endsWith("style.js") ? await smallCss(text) : smallHtml(text);
        lines.push(`export const ${name} = ${JSON.stringify(small)};`);
      }
      return { contents: lines.join("\n"), loader: "js" };
    });
  },
};

async function smallCss(text) {
  const { code } = await transform(text, { loader: "css", minify: true, legalComments: "none" });
  return code.trim();
}

function smallHtml(text) {
  return text.replace(/>\s+</g, "><").replace(/\s+/g, " ").trim();
}

/**
 * `{name: {size, files}}` in bytes gzipped: each way in with what it loads at once, then what
 * `import()` loads with what that adds to `index`.
 */
function weigh({ outputs }) {
  const gzipped = (path) => gzipSync(readFileSync(join(HERE, path)), { level: 9 }).length;
  const atOnce = (path, seen = new Set()) => {
    if (seen.has(path)) return seen;
    seen.add(path);
    for (const { path: next, kind } of outputs[path].imports) {
      if (kind === "import-statement") atOnce(next, seen);
    }
    return seen;
  };
  const weight = (paths) => ({
    size: paths.reduce((sum, path) => sum + gzipped(path), 0),
    files: paths.map((path) => path.replace("dist/", "")),
  });
  const index = atOnce("dist/index.js");
  const weights = {};
  for (const [path, { entryPoint }] of Object.entries(outputs)) {
    if (entryPoint === undefined) continue; // shared: counted where it is loaded
    const name = basename(entryPoint, ".js");
    const isWayIn = WAYS_IN.includes(name) && path === `dist/${name}.js`;
    weights[name] = weight([...atOnce(path)].filter((each) => isWayIn || !index.has(each)));
  }
  return weights;
}

rmSync(OUT, { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: HERE,
  entryPoints: WAYS_IN.map((name) => `src/${name}.js`),
  outdir: "dist",
  bundle: true,
  splitting: true,
  minify: true,
  format: "esm",
  define: { "import.meta.url": "null" }, // what bundlers make of it is the address of no server
  target: ["chrome94", "firefox93", "safari15"],
  chunkNames: "later/[name]-[hash]",
  metafile: true,
  logLevel: "warning",
  plugins: [textOfModules],
});
console.log(JSON.stringify(weigh(metafile), null, 2));
