// The server, through the official SDK; and the one way in which this console has something signed.

import { BaseAuthApi } from "@dfns/sdk/baseAuthApi"
import { DfnsError } from "@dfns/sdk/dfnsError"
import { AuthClient } from "@dfns/sdk/generated/auth/client"
import { type Action, type Signatory, actionDigest, canonicalTarget, checkChallenge } from "./commitment"
import { say } from "./dom"
import { signWithPasskey } from "./passkeys"
import { review } from "./review"
import { serverNow, session } from "./session"

const baseUrl = location.origin

export interface Settings {
  installationId: string
  sandbox: boolean
}

let settings: Promise<Settings> | undefined

/** What the page must know of this installation of the server. */
export function readSettings(): Promise<Settings> {
  settings ??= fetch(new URL("console/settings.json", location.href)).then((answer) => answer.json())
  settings.catch(() => {
    settings = undefined
  })
  return settings
}

/** The authentication API; `token` is a temporary one, the session's where there is none. */
export function auth(token?: string): AuthClient {
  const authToken = token ?? session()?.token
  // Nothing that is signed goes through this client: see `countersign`.
  return new AuthClient({ baseUrl, ...(authToken === undefined ? {} : { authToken }) } as never)
}

/** What came of a signed request: 202 waits for an approval. */
export interface Outcome {
  status: number
  body: unknown
}

/**
 * Show a request, have exactly that signed with a passkey, send exactly that; `null` if the person would not.
 *
 * Throws `WrongCommitment` when the server's challenge is not one for what is shown, before any passkey is asked.
 */
export async function countersign(action: Action, why: string): Promise<Outcome | null> {
  const known = session()
  if (known === null) throw new DfnsError(401, "Not Authorized.", { body: { error: { code: "UNAUTHENTICATED" } } })
  const target = canonicalTarget(action.path)
  const exact: Action = { ...action, path: target.path + target.query }
  const who: Signatory = { ...known, installationId: (await readSettings()).installationId }
  const digest = await actionDigest(who, exact)
  const options = { baseUrl, authToken: known.token } as never
  const challenge = await BaseAuthApi.createUserActionChallenge(
    {
      userActionPayload: exact.payload,
      userActionHttpMethod: exact.method as "POST",
      userActionHttpPath: exact.path,
      userActionServerKind: "Api",
    },
    options,
  )
  checkChallenge(challenge.challenge, digest, serverNow())
  say("")
  if (!(await review(exact, digest, why, known.username))) return null
  say("Waiting for your passkey …")
  const firstFactor = await signWithPasskey(challenge)
  const { userAction } = await BaseAuthApi.signUserActionChallenge(
    { challengeIdentifier: challenge.challengeIdentifier, firstFactor },
    options,
  )
  return send(exact, known.token, userAction)
}

async function send(action: Action, token: string, userAction: string): Promise<Outcome> {
  const answer = await fetch(new URL(action.path, baseUrl), {
    method: action.method,
    headers: {
      authorization: `Bearer ${token}`,
      "x-dfns-useraction": userAction,
      ...(action.payload === "" ? {} : { "content-type": "application/json" }),
    },
    ...(action.payload === "" ? {} : { body: action.payload }),
  })
  const text = await answer.text()
  const body = text === "" ? {} : JSON.parse(text)
  if (!answer.ok) throw new DfnsError(answer.status, body?.error?.message ?? body?.message, { body })
  return { status: answer.status, body: text === "" ? {} : JSON.parse(text) }
}

/** An operation which the SDK does not know, in the session if there is one. */
export async function beyondSdk(method: string, path: string, content?: object): Promise<unknown> {
  const known = session()
  const answer = await fetch(new URL(path, baseUrl), {
    method,
    headers: {
      ...(known === null ? {} : { authorization: `Bearer ${known.token}` }),
      ...(content === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(content === undefined ? {} : { body: JSON.stringify(content) }),
  })
  const body = await answer.json()
  if (!answer.ok) throw new DfnsError(answer.status, body?.error?.message, { body })
  return body
}
