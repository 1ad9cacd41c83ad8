// Builds the console into the Python package, or into the folder that is named. The same source gives the same bytes.
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises"
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
const { metafile } = await build({
  ...shared,
  metafile: true,
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
await writeFile(`${out}/licences.txt`, await licences(Object.keys(metafile.inputs)))

// The licence of every package of which something was built in, as the package itself states it.
async function licences(inputs) {
  const folders = inputs.map((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0])
  const parts = new Map()
  for (const folder of folders.filter(Boolean)) {
    const { name, version } = JSON.parse(await readFile(here(`${folder}/package.json`), "utf8"))
    const file = (await readdir(here(folder))).find((entry) => /^licen[cs]e/i.test(entry))
    const text = file ? await readFile(here(`${folder}/${file}`), "utf8") : "The package states no licence."
    parts.set(`${name} ${version}`, text.trim())
  }
  const listed = [...parts].sort(([left], [right]) => (left < right ? -1 : 1))
  const head = "app.js holds parts of these packages, beside the source of Countersign (Apache-2.0)."
  return [head, ...listed.map(([name, text]) => `${name}\n\n${text}`)].join(`\n\n${"-".repeat(72)}\n\n`) + "\n"
}
