// Builds the console into the Python package, or into the folder that is named. The same source gives the same bytes.
import { copyFile, mkdir } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const out = process.argv[2] ?? here("../src/countersign/console/static")

// The browser signer takes one class from the SDK's front door, behind which all its clients are.
const frontDoor = {
  name: "front-door",
  setup: ({ onResolve }) => {
    onResolve({ filter: /^@dfns\/sdk$/ }, () => ({ path: here("node_modules/@dfns/sdk/dfnsError.js") }))
  },
}

await mkdir(out, { recursive: true })
const shared = { bundle: true, minify: true, charset: "utf8", legalComments: "none", logLevel: "warning" }
await build({
  ...shared,
  absWorkingDir: here("."),
  entryPoints: ["src/main.ts"],
  outfile: `${out}/app.js`,
  format: "esm",
  target: "es2022",
  platform: "browser",
  define: { global: "globalThis" },
  plugins: [frontDoor],
})
await build({ ...shared, absWorkingDir: here("."), entryPoints: ["src/app.css"], outfile: `${out}/app.css` })
for (const name of ["index.html", "icon.svg"]) await copyFile(here(`src/${name}`), `${out}/${name}`)
