// What a signature commits to, computed here and not taken from the server: the console signs a challenge only when it
// names the digest of the very request that it shows. The same rules as src/countersign/consent and encoding/target.py.

import { fromBase64Url, toBase64Url } from "@dfns/sdk/utils"
import { Buffer } from "buffer"
import { canonical, parsePayload } from "./strict-json"

/** A request as it will be signed and sent. `path` may hold a query; `payload` is JSON text, empty for none. */
export interface Action {
  method: string
  path: string
  payload: string
}

/** Who signs, and for which installation of the server. */
export interface Signatory {
  installationId: string
  orgId: string
  userId: string
}

/** A path that no server reads in only one way; the message says why. */
export class BadPath extends Error {}

/** The server asks for a signature over something else than what is shown. */
export class WrongCommitment extends Error {}

/** Longest that a challenge may count, in seconds; the server's own limit is a quarter of it. */
const MAX_LIFE = 3600

/** The path in the one spelling that is hashed, and the raw query with its `?`. Throws `BadPath`. */
export function canonicalTarget(path: string): { path: string; query: string } {
  const at = path.indexOf("?")
  const [bare, query] = at < 0 ? [path, ""] : [path.slice(0, at), path.slice(at)]
  if (!bare.startsWith("/")) throw new BadPath("The path starts with / and names no server.")
  if (bare.startsWith("//")) throw new BadPath("The path starts with a single /.")
  if (bare.includes("\\") || path.includes("#")) throw new BadPath("The path holds no backslash and no #.")
  if (/[\u0000-\u001f\u007f-\u009f]/.test(bare)) throw new BadPath("The path holds no control characters.")
  if (!/^(?:\?[!"$-~]*)?$/.test(query)) throw new BadPath("The query is percent-encoded.")
  if (bare === "/") return { path: "/", query }
  const segments = bare.slice(1).split("/").map((segment) => encoded(decoded(segment)))
  return { path: `/${segments.join("/")}`, query }
}

function decoded(segment: string): string {
  if (segment === "") throw new BadPath("The path has an empty part (a double or trailing slash).")
  let text: string
  try {
    text = decodeURIComponent(segment)
  } catch {
    throw new BadPath("The path has a malformed percent escape.")
  }
  if (text === "." || text === "..") throw new BadPath("The path has a dot segment.")
  if (/[/\\%\u0000-\u001f\u007f-\u009f]/.test(text)) {
    throw new BadPath("A part of the path hides a slash, a percent sign or a control character.")
  }
  if (!text.isWellFormed()) throw new BadPath("The path is not valid Unicode.")
  return text
}

function encoded(segment: string): string {
  return encodeURIComponent(segment).replace(/[!'()*]/g, (mark) => {
    return `%${mark.charCodeAt(0).toString(16).toUpperCase()}`
  })
}

/** Base64url SHA-256 that commits to the action of this signatory. Throws `BadPath` and `BadJson`. */
export async function actionDigest(who: Signatory, action: Action): Promise<string> {
  const target = canonicalTarget(action.path)
  const payload = await sha256(utf8(canonical(parsePayload(action.payload))))
  const parts = [
    "countersign.action.v1",
    who.installationId,
    who.orgId,
    who.userId,
    "Api",
    action.method,
    target.path,
    target.query,
  ].map(utf8)
  return base64url(await sha256(framed([...parts, payload])))
}

/** Throws `WrongCommitment` unless the challenge is one for the action with this digest. `now` in milliseconds. */
export function checkChallenge(challenge: string, digest: string, now: number): void {
  let members: Record<string, unknown>
  try {
    members = JSON.parse(new TextDecoder().decode(fromBase64Url(challenge))) as Record<string, unknown>
  } catch {
    throw new WrongCommitment("The server's challenge cannot be read.")
  }
  if (Object.keys(members).sort().join() !== "action,exp,id,nonce" || typeof members.exp !== "number") {
    throw new WrongCommitment("The server's challenge is not that of an action.")
  }
  if (members.action !== digest) {
    throw new WrongCommitment("The server asks for a signature over another request than the one shown here.")
  }
  if (members.exp > now / 1000 + MAX_LIFE) {
    throw new WrongCommitment("The server's challenge would count for far too long.")
  }
}

// Lengths in front, so that no two different lists of parts give the same bytes.
function framed(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + 4 + part.length, 0))
  let at = 0
  for (const part of parts) {
    new DataView(whole.buffer).setUint32(at, part.length)
    whole.set(part, at + 4)
    at += 4 + part.length
  }
  return whole
}

function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text)
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))
}

export function base64url(bytes: Uint8Array): string {
  return toBase64Url(Buffer.from(bytes))
}
