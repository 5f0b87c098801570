/** Builds the examples of docs/frameworks.md: `node build.js FOLDER`. The folder has them, and gets `app/…`. */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { compile } from "svelte/compiler"

const { build } = createRequire(new URL("../../../package.json", import.meta.url))("esbuild")
const [, , folder] = process.argv

const svelte = {
  name: "svelte",
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.svelte$/ }, ({ path }) => {
      const { js } = compile(readFileSync(path, "utf-8"), { filename: path, generate: "client" })
      return { contents: js.code, loader: "js" }
    }),
}

// React as an ES module, as a CDN serves it.
const REACT = `
  import React from "react"
  import Client from "react-dom/client"
  export const { createElement, useMemo, useState, useSyncExternalStore } = React
  export const { createRoot } = Client
`

await build({
  stdin: { contents: REACT, resolveDir: folder },
  outfile: join(folder, "app", "react-of-cdn.js"),
  bundle: true,
  format: "esm",
  define: { "process.env.NODE_ENV": '"production"' },
  logLevel: "warning",
})

await build({
  entryPoints: ["react.jsx", "svelte.js", "app.js"].map(name => join(folder, name)),
  outdir: join(folder, "app"),
  bundle: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  tsconfigRaw: {},
  conditions: ["svelte", "browser"],
  define: { "process.env.NODE_ENV": '"production"' },
  plugins: [svelte],
  logLevel: "warning",
})
