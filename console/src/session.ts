// The session: its token is kept for this tab only. sessionStorage outlives a reload and ends with the tab; no other tab
// and no other site reads it. Scripts of this page could in either place, so none but our own may run.

import { fromBase64Url } from "@dfns/sdk/utils"

const TOKEN = "countersign.session"
const CLOCK = "countersign.clock"
const ORGANISATION = "countersign.organisation"
const SIGN_IN = "countersign.sign-in"

export interface Session {
  token: string
  orgId: string
  userId: string
  username: string
  /** Milliseconds since the epoch, by the server's clock. */
  issued: number
  expires: number
}

/** The live session of this tab. */
export function session(): Session | null {
  const token = sessionStorage.getItem(TOKEN)
  if (token === null) return null
  const known = read(token)
  if (known !== null && known.expires > serverNow()) return known
  forgetSession()
  return null
}

export function keepSession(token: string): void {
  const known = read(token)
  if (known === null) return
  sessionStorage.setItem(TOKEN, token)
  sessionStorage.setItem(CLOCK, String(known.issued - Date.now()))
  keepOrganisation(known.orgId)
}

/** The server's time in milliseconds, within a second or two: that of this device may be anything. */
export function serverNow(): number {
  return Date.now() + Number(sessionStorage.getItem(CLOCK) ?? "0")
}

export function forgetSession(): void {
  sessionStorage.removeItem(TOKEN)
}

/** The organisation that somebody last entered on this device; an id, and no secret. */
export function organisation(): string {
  return localStorage.getItem(ORGANISATION) ?? ""
}

export function keepOrganisation(orgId: string): void {
  localStorage.setItem(ORGANISATION, orgId)
}

/** A sign-in at an identity provider that this tab began: its state, and the page to go to afterwards. */
export interface SignIn {
  state: string
  next: string
}

export function keepSignIn(begun: SignIn): void {
  sessionStorage.setItem(SIGN_IN, JSON.stringify(begun))
}

/** Once: whatever comes back after that did not begin here. */
export function takeSignIn(): SignIn | null {
  const kept = sessionStorage.getItem(SIGN_IN)
  sessionStorage.removeItem(SIGN_IN)
  return kept === null ? null : (JSON.parse(kept) as SignIn)
}

function read(token: string): Session | null {
  try {
    const claims = JSON.parse(new TextDecoder().decode(fromBase64Url(token.split(".")[1] ?? ""))) as {
      iat: number
      exp: number
      "https://custom/username": string
      "https://custom/app_metadata": { orgId: string; userId: string }
    }
    const { orgId, userId } = claims["https://custom/app_metadata"]
    const username = claims["https://custom/username"]
    return { token, orgId, userId, username, issued: claims.iat * 1000, expires: claims.exp * 1000 }
  } catch {
    return null
  }
}
