// Every failure as three sentences: what happened, why, and what to do next.

import { DfnsError } from "@dfns/sdk/dfnsError"
import { BadPath, WrongCommitment } from "./commitment"
import { h } from "./dom"
import { noPasskeys, PasskeyFailure } from "./passkeys"
import { NoRecoveryCode } from "./recovery-key"
import { BadJson } from "./strict-json"

export interface Problem {
  title: string
  cause: string
  next: string
  /** For the operator's log. */
  id?: string | undefined
}

type Three = readonly [title: string, cause: string, next: string]

const BROWSER: Record<string, { create?: Three; get: Three }> = {
  NotAllowedError: {
    create: [
      "No passkey was made.",
      "The prompt was closed, ran out of time, or your device cannot verify you (by PIN, fingerprint or face).",
      "Try again and confirm on your device. If it has no screen lock or PIN, set one up first.",
    ],
    get: [
      "Nothing was signed.",
      "The prompt was closed, ran out of time, or this device has no passkey of yours for this address.",
      "Try again and confirm on your device. If your passkey is on a phone or security key, choose that in the prompt; if you lost it, recover your account.",
    ],
  },
  InvalidStateError: {
    get: [
      "This device has a passkey of yours already.",
      "A device keeps one passkey for each account here.",
      "Use the one that is there, or choose another device or security key in the prompt.",
    ],
  },
  SecurityError: {
    get: [
      "The browser allows no passkey of this organisation here.",
      "This page's address does not belong to the name that the passkey is bound to.",
      "Open the console at the address that your administrator gave you.",
    ],
  },
  NotSupportedError: {
    get: [
      "Your device cannot make this kind of passkey.",
      "It supports none of the signature algorithms that the server accepts.",
      "Use another device or security key.",
    ],
  },
  ConstraintError: {
    get: [
      "Your device cannot make this kind of passkey.",
      "It must be able to keep the passkey and to verify you by PIN, fingerprint or face.",
      "Set up a screen lock or PIN, or use another device or security key.",
    ],
  },
}

const UNKNOWN_BROWSER: Three = [
  "The passkey did not answer.",
  "The device or security key reported a fault.",
  "Try again; unplug a security key and plug it in. If it goes on, use another passkey.",
]

const UNUSABLE: Record<"insecure" | "address" | "unsupported", Three> = {
  insecure: [
    "Passkeys need a secure connection.",
    "This page was loaded over plain HTTP.",
    "Open it with https:// at the beginning of the address.",
  ],
  address: [
    "Passkeys need a name.",
    "This page was opened by a network address, and passkeys are bound to names.",
    "Open it by its host name; on your own computer: localhost.",
  ],
  unsupported: [
    "This browser knows no passkeys.",
    "It does not offer Web Authentication, or it is switched off.",
    "Use a current browser.",
  ],
}

const ELSEWHERE: Three = [
  "Your organisation logs in elsewhere.",
  "Your account must come in through the identity provider.",
  "Use single sign-on.",
]

const CODES: Record<string, Three> = {
  INVALID_CODE: [
    "The code is not valid.",
    "It was mistyped, used before, replaced by a newer one, or it has ended.",
    "Check it letter by letter, or ask for a new one.",
  ],
  REGISTRATION_CODE_EXPIRED: [
    "The code has ended.",
    "Registration codes count for a few hours.",
    "Have a new one sent to you with the button below.",
  ],
  USER_EXISTS: [
    "You are registered already.",
    "An earlier attempt went through, perhaps without its answer reaching you.",
    "Log in with the passkey that you made.",
  ],
  USER_NOT_FOUND: ["There is no such user.", "The username or the organisation is another.", "Check both."],
  USER_DEACTIVATED: ["Your account is deactivated.", "An administrator has locked it.", "Ask an administrator."],
  NO_CREDENTIAL: [
    "This passkey cannot be used here.",
    "The server does not know it, or it was deactivated or removed.",
    "Use another passkey, or recover your account.",
  ],
  CREDENTIAL_EXISTS: [
    "This passkey is enrolled already.",
    "A passkey is enrolled once and for one account.",
    "Use it, or make one on another device.",
  ],
  LAST_CREDENTIAL: [
    "Your last passkey stays.",
    "Without it you could sign nothing any more.",
    "Add another passkey first.",
  ],
  CHALLENGE_INVALID: [
    "This attempt has ended.",
    "It took too long, it was completed before, or your account changed meanwhile.",
    "Start again.",
  ],
  SSO_REQUIRED: ELSEWHERE,
  SSO_NOT_OFFERED: [
    "Your organisation has no identity provider for this page.",
    "None of its providers lists this page's address as one to come back to.",
    "Log in with a passkey, or ask your administrator.",
  ],
  IDENTITY_REFUSED: [
    "You were not let in.",
    "What the identity provider said of you was not accepted.",
    "Sign in again. If it goes on, tell your administrator: the server's log has the reason.",
  ],
  SIGN_IN_INVALID: ["This sign-in has ended.", "It took too long, or it was completed before.", "Sign in again."],
  IDENTITY_PROVIDER_UNAVAILABLE: [
    "The identity provider cannot be reached.",
    "It did not answer this server as it must.",
    "Try again in a minute; if it goes on, tell your administrator.",
  ],
  UNAUTHENTICATED: ["Your session has ended.", "It ran out, or it was ended.", "Log in again."],
  FORBIDDEN: ["You may not do this.", "Your permissions do not hold this operation.", "Ask an administrator."],
  POLICY_BLOCKED: ["A policy blocks this.", "Your organisation's rules do not allow it.", "Ask an administrator."],
  RATE_LIMITED: ["Too many attempts.", "The server takes only so many in a minute.", "Wait a minute, then try again."],
}

const CAUSES: Record<string, Three> = {
  origin: [
    "The server does not take passkeys from this address.",
    "The organisation has not listed this page's address (its origin).",
    "Open the console at the address that your administrator gave you, or ask to have this one listed.",
  ],
  relyingParty: [
    "The passkey belongs to another name.",
    "It is bound to a host (its relying party) that this organisation has not listed.",
    "Open the console at the address that your administrator gave you.",
  ],
  userVerification: [
    "Your device did not verify you.",
    "The server takes a passkey only after a PIN, fingerprint or face, and this answer came without.",
    "Set a PIN or screen lock on the device or security key, then try again.",
  ],
  signatureCounter: [
    "This passkey may have been copied.",
    "Its counter of signatures ran back: another device seems to hold the same key. The attempt is in the audit log.",
    "Stop using it. Log in with another passkey, remove this one, and tell your administrator.",
  ],
}

/** The passkey was right, and the account comes in by the organisation's identity provider all the same. */
export class LoginElsewhere extends Error {}

/** Somebody came back from an identity provider with another sign-in than the one that this tab began. */
export class NotBegunHere extends Error {}

/** The identity provider sent somebody back without a code. */
export class ProviderRefused extends Error {}

/** Whom the identity provider named is nobody here. */
export class NotInvited extends Error {}

/** Explain anything that was thrown. */
export function explain(error: unknown): Problem {
  if (error instanceof WrongCommitment) {
    return three([
      "Not signed: the server asked for something else.",
      `${error.message} Your passkey was not asked.`,
      "Do not try again. Tell your administrator at once.",
    ])
  }
  if (error instanceof BadJson) return three(["The payload is not valid.", error.message, "Correct it."])
  if (error instanceof BadPath) return three(["The path is not valid.", error.message, "Correct it."])
  if (error instanceof NoRecoveryCode) {
    return three([
      "This is no recovery code.",
      "A symbol is wrong or missing: it has seven groups of five, and its last symbols check the others.",
      "Check it letter by letter.",
    ])
  }
  if (error instanceof LoginElsewhere) return three(ELSEWHERE)
  if (error instanceof NotBegunHere) {
    return three([
      "This sign-in did not begin here.",
      "It belongs to another tab, was completed before, or somebody sent you its link.",
      "Sign in again from this page.",
    ])
  }
  if (error instanceof NotInvited) {
    return three([
      "Nobody was invited by this name.",
      "The mail address that the identity provider knows you by is that of no user here.",
      "Sign in there as somebody else, or ask an administrator to invite you by this address.",
    ])
  }
  if (error instanceof ProviderRefused) {
    return three(["The identity provider did not let you in.", `It says: ${error.message}`, "Sign in again, or ask your administrator."])
  }
  if (error instanceof PasskeyFailure) {
    const known = BROWSER[error.name]
    return unusable() ?? three(known?.[error.asked] ?? known?.get ?? UNKNOWN_BROWSER)
  }
  if (error instanceof DfnsError) return answered(error)
  if (error instanceof TypeError) {
    return unusable() ?? three([
      "The server cannot be reached.",
      "There is no connection, or the server does not run.",
      "Check your connection, then try again. What you did may have gone through: look before you repeat it.",
    ])
  }
  return three(["Something went wrong in this page.", String(error), "Load the page again."])
}

/** Why this page can do nothing with passkeys, before anybody tries. */
export function unusable(): Problem | null {
  const why = noPasskeys()
  return why === null ? null : three(UNUSABLE[why])
}

function answered(error: DfnsError): Problem {
  const body = (error.context as { body?: ErrorBody } | undefined)?.body
  const { code = "", id, message = error.message, details } = body?.error ?? {}
  const known = CAUSES[details?.cause ?? ""] ?? CODES[code]
  if (known !== undefined) return three(known, id)
  if (code === "ASSERTION_INVALID" || code === "ATTESTATION_INVALID") {
    return three(
      [
        "The server did not take the passkey's answer.",
        "The passkey is not known, was deactivated, or this page's address is not one that your organisation has listed.",
        "Try another passkey, at the address that your administrator gave you.",
      ],
      id,
    )
  }
  const hint = details?.hint ?? details?.issues?.map((issue) => `${issue.path}: ${issue.message}`).join("; ")
  return three(["The server refused.", message, hint ?? "Try again later, or ask your administrator."], id)
}

interface ErrorBody {
  error?: {
    id?: string
    code?: string
    message?: string
    details?: { cause?: string; hint?: string; issues?: { path: string; message: string }[] }
  }
}

/** The stable code of a refusal by the server, "" for anything else. */
export function codeOf(error: unknown): string {
  if (!(error instanceof DfnsError)) return ""
  return (error.context as { body?: ErrorBody } | undefined)?.body?.error?.code ?? ""
}

function three([title, cause, next]: Three, id?: string): Problem {
  return { title, cause, next, id }
}

/** Show a problem where it is seen and read out; `stays`: also on the page that comes next. */
export function show(problem: Problem, stays = false): void {
  const alert = document.getElementById("alert")!
  alert.dataset.stays = String(stays)
  alert.replaceChildren(
    h("h2", {}, problem.title),
    h("p", {}, problem.cause),
    h("p", {}, h("strong", {}, "What to do: "), problem.next),
    problem.id === undefined ? "" : h("p", { className: "hint" }, `For the operator: ${problem.id}`),
  )
  alert.scrollIntoView({ block: "nearest" })
}

/** Take it away again. */
export function clear(): void {
  document.getElementById("alert")!.replaceChildren()
}

/** The same where another page begins: what was to stay, stays once. */
export function clearForPage(): void {
  const alert = document.getElementById("alert")!
  if (alert.dataset.stays !== "true") alert.replaceChildren()
  alert.dataset.stays = "false"
}
