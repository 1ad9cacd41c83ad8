import { beyondSdk } from "../api"
import { button, field, form, h, say } from "../dom"
import { createPasskey, type EnrolmentChallenge } from "../passkeys"
import { codeOf, NotBegunHere, NotInvited, ProviderRefused } from "../problems"
import { keepSession, keepSignIn, takeSignIn } from "../session"
import { organisationField } from "../who"
import { failed, work } from "../working"

/**
 * What an identity provider sent the browser back with, if it did: code and state, or an error.
 *
 * It is asked to put them behind the `#`, where all that links carry stands; some know only the query.
 */
export function broughtBack(text: string): URLSearchParams | null {
  const brought = new URLSearchParams(text)
  return !text.startsWith("/") && (brought.has("state") || brought.has("error")) ? brought : null
}

/** Sign in at the organisation's identity provider; `query` is what it sent back, empty at first. */
export async function sso(query: URLSearchParams, next: string): Promise<Node> {
  if (query.size === 0) return beginning(next)
  try {
    return await completion(query)
  } catch (error) {
    failed(error)
    return beginning(next)
  }
}

function beginning(next: string): Node {
  const org = organisationField()
  const leave = () =>
    work("Going to your identity provider …", async () => {
      const body = { ...org.body(), redirectUri: location.origin + location.pathname }
      const { redirectUrl } = (await beyondSdk("POST", "/auth/login/oidc/init", body)) as { redirectUrl: string }
      const there = new URL(redirectUrl)
      there.searchParams.set("response_mode", "fragment")
      keepSignIn({ state: there.searchParams.get("state")!, next })
      location.assign(there)
    })
  return h(
    "section",
    {},
    h("h1", {}, "Single sign-on"),
    h("p", {}, "Your organisation's identity provider says who you are. What you sign still takes your passkey."),
    form(
      () => void leave(),
      org.element,
      h("div", { className: "actions" }, h("button", { type: "submit", className: "primary" }, "Go to the identity provider")),
    ),
    h("p", {}, h("a", { href: "#/login" }, "Log in with a passkey")),
  )
}

interface Entered {
  token: string
  /** For who has no credential yet. */
  credentialChallenge?: EnrolmentChallenge
}

async function completion(query: URLSearchParams): Promise<Node> {
  const begun = takeSignIn()
  const state = query.get("state")
  // Otherwise a page could have this browser complete somebody else's sign-in.
  if (begun === null || state !== begun.state) throw new NotBegunHere()
  const code = query.get("code")
  if (code === null) throw new ProviderRefused(query.get("error_description") ?? query.get("error") ?? "")
  say("Signing in …")
  const { token, credentialChallenge } = await enter(code, state)
  keepSession(token)
  if (credentialChallenge !== undefined) {
    say("")
    return firstPasskey(credentialChallenge, begun.next)
  }
  say("You are logged in.")
  location.replace(begun.next)
  return h("section", {}, h("h1", {}, "Single sign-on"), h("p", {}, "You are logged in."))
}

async function enter(code: string, state: string): Promise<Entered> {
  try {
    return (await beyondSdk("POST", "/auth/login/oidc", { code, state })) as Entered
  } catch (error) {
    throw codeOf(error) === "USER_NOT_FOUND" ? new NotInvited() : error
  }
}

function firstPasskey(challenge: EnrolmentChallenge, next: string): Node {
  const name = h("input", { type: "text", required: true, maxLength: 100, value: "First passkey", autocomplete: "off" })
  const submit = () =>
    work("Waiting for your new passkey …", async () => {
      const passkey = await createPasskey(challenge)
      const { challengeIdentifier } = challenge
      const body = { ...passkey, challengeIdentifier, credentialName: name.value.trim() }
      await beyondSdk("POST", "/auth/login/oidc/credentials", body)
      say("You are registered. Add a recovery code, and a second passkey, in your account.")
      location.hash = next
    })
  return h(
    "section",
    {},
    h("h1", {}, "Make your first passkey"),
    h("p", {}, "You are logged in, and can look at things. To sign anything you need a passkey, on this device or a security key."),
    form(
      () => void submit(),
      field("Name of this passkey", name),
      h(
        "div",
        { className: "actions" },
        h("button", { type: "submit", className: "primary" }, "Make a passkey"),
        button("Not now", () => void (location.hash = next)),
      ),
    ),
    h("p", { className: "hint" }, "Keys sign for it once somebody of your organisation has endorsed it, as the identity provider alone let you in."),
  )
}
