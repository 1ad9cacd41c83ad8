// The session: its token is kept for this tab only. sessionStorage outlives a reload and ends with the tab; no other tab
// and no other site reads it. Scripts of this page could in either place, so none but our own may run.

import { fromBase64Url } from "@dfns/sdk/utils"

const TOKEN = "countersign.session"
const ORGANISATION = "countersign.organisation"

export interface Session {
  token: string
  orgId: string
  userId: string
  username: string
  /** Milliseconds since the epoch. */
  expires: number
}

/** The live session of this tab. */
export function session(): Session | null {
  const token = sessionStorage.getItem(TOKEN)
  if (token === null) return null
  const known = read(token)
  if (known !== null && known.expires > Date.now()) return known
  forgetSession()
  return null
}

export function keepSession(token: string): void {
  sessionStorage.setItem(TOKEN, token)
  const known = session()
  if (known) keepOrganisation(known.orgId)
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

function read(token: string): Session | null {
  try {
    const claims = JSON.parse(new TextDecoder().decode(fromBase64Url(token.split(".")[1] ?? ""))) as {
      exp: number
      "https://custom/username": string
      "https://custom/app_metadata": { orgId: string; userId: string }
    }
    const { orgId, userId } = claims["https://custom/app_metadata"]
    return { token, orgId, userId, username: claims["https://custom/username"], expires: claims.exp * 1000 }
  } catch {
    return null
  }
}
