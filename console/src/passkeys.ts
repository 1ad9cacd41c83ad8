// Passkeys by the official browser signer. Here is only which relying party they are for.

import { WebAuthnSigner } from "@dfns/sdk-browser"

export interface Party {
  id: string
  name: string
}

/** Why this page can use no passkeys at all; `null` if it can. */
export function noPasskeys(): "insecure" | "address" | "unsupported" | null {
  if (!isSecureContext) return "insecure"
  // A relying party is a name: browsers make no passkeys for addresses.
  if (/^[0-9.]+$|:/.test(location.hostname)) return "address"
  return typeof PublicKeyCredential === "undefined" ? "unsupported" : null
}

/**
 * The relying party of this page: the organisation's, if the page is at its name or below it, else the page's own name,
 * which the server takes where the organisation lists it.
 */
export function partyHere(named: Party | undefined): Party {
  const host = location.hostname
  if (named !== undefined && (host === named.id || (named.id.includes(".") && host.endsWith(`.${named.id}`)))) {
    return named
  }
  return { id: host, name: named?.name ?? host }
}

export function signerFor(named: Party | undefined): WebAuthnSigner {
  return new WebAuthnSigner({ relyingParty: partyHere(named) })
}
