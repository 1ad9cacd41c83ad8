// Answers, for each case on standard input, what the console makes of it: {digest} or {refused}.
import { fileURLToPath } from "node:url"
import { createRequire } from "node:module"

const folder = fileURLToPath(new URL("../../console/", import.meta.url))
const { build } = createRequire(`${folder}package.json`)("esbuild")
const built = await build({
  absWorkingDir: folder,
  stdin: {
    contents: 'export * from "./src/commitment"; export { canonical, parsePayload } from "./src/strict-json"',
    resolveDir: folder,
  },
  bundle: true,
  write: false,
  format: "esm",
  platform: "node",
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
})
const { actionDigest, canonicalTarget, checkChallenge, parsePayload, canonical } = await import(
  `data:text/javascript;base64,${Buffer.from(built.outputFiles[0].text.replaceAll("import.meta.url", '"file:///"')).toString("base64")}`
)

let input = ""
for await (const part of process.stdin) input += part
const answers = []
for (const { who, action, challenge, now } of JSON.parse(input)) {
  try {
    const { path, query } = canonicalTarget(action.path)
    const digest = await actionDigest(who, action)
    if (challenge !== undefined) checkChallenge(challenge, digest, now)
    answers.push({ digest, path, query, payload: canonical(parsePayload(action.payload)) })
  } catch (error) {
    answers.push({ refused: error.message })
  }
}
process.stdout.write(JSON.stringify(answers))
