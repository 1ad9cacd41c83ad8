// Passkeys by the official browser signer. Here is only which relying party they are for.

import { WebAuthnSigner } from "@dfns/sdk-browser"

interface Party {
  id: string
  name: string
}

/** What the server wants a new credential to sign, as far as the console reads it. */
export interface EnrolmentChallenge {
  challengeIdentifier: string
  rp?: Party
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
function partyHere(named: Party | undefined): Party {
  const host = location.hostname
  if (named !== undefined && (host === named.id || (named.id.includes(".") && host.endsWith(`.${named.id}`)))) {
    return named
  }
  return { id: host, name: named?.name ?? host }
}

/** A passkey was asked and did not do it; browsers name the same failure alike whatever was asked for. */
export class PasskeyFailure extends Error {
  constructor(
    readonly asked: "create" | "get",
    readonly name: string,
  ) {
    super(name)
  }
}

/** Make a passkey for the challenge of an enrolment. Throws `PasskeyFailure`. */
export function createPasskey(challenge: unknown): ReturnType<WebAuthnSigner["create"]> {
  return told("create", signerFor(challenge).create(challenge as never))
}

/** Have a passkey sign the challenge of a login or an action. Throws `PasskeyFailure`. */
export function signWithPasskey(challenge: unknown): ReturnType<WebAuthnSigner["sign"]> {
  return told("get", signerFor(challenge).sign(challenge as never))
}

function signerFor(challenge: unknown): WebAuthnSigner {
  return new WebAuthnSigner({ relyingParty: partyHere((challenge as { rp?: Party }).rp) })
}

async function told<T>(asked: "create" | "get", work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw error instanceof DOMException ? new PasskeyFailure(asked, error.name) : error
  }
}
