import { auth } from "../api"
import { button, form, h, say } from "../dom"
import { signWithPasskey } from "../passkeys"
import { LoginElsewhere } from "../problems"
import { keepSession, organisation } from "../session"
import { whichOrganisation, whoFields } from "../who"
import { work } from "../working"

/** Log in: with any passkey that knows whose it is, or by name. */
export function login(_query: URLSearchParams, next: string): Node {
  const who = whoFields()
  const enter = (body: { orgId?: string; username?: string }) =>
    work("Waiting for your passkey …", async () => {
      const challenge = await auth().createLoginChallenge({ body: body as never })
      const firstFactor = await signWithPasskey(challenge)
      const { challengeIdentifier } = challenge
      const answer = await auth().login({ body: { challengeIdentifier, firstFactor: firstFactor as never } })
      // Whoever must sign in at the organisation's identity provider is answered its client instead of a session.
      if (!("token" in answer)) throw new LoginElsewhere()
      keepSession(answer.token)
      say("You are logged in.")
      location.hash = next
    })
  return h(
    "section",
    {},
    h("h1", {}, "Log in"),
    h("p", {}, "Your passkey is all that you need."),
    h(
      "div",
      { className: "actions" },
      button("Log in with a passkey", () => void enter(whichOrganisation(organisation())), "primary"),
    ),
    h("h2", {}, "Or by name"),
    h("p", { className: "hint" }, "For security keys that do not keep names."),
    form(() => void enter(who.body()), who.element, h("div", { className: "actions" }, h("button", { type: "submit" }, "Log in by name"))),
    h(
      "ul",
      { className: "links" },
      h("li", {}, h("a", { href: "#/sso" }, "Single sign-on by my organisation")),
      h("li", {}, h("a", { href: "#/register" }, "Finish a registration")),
      h("li", {}, h("a", { href: "#/code" }, "Add a passkey with a code")),
      h("li", {}, h("a", { href: "#/recover" }, "I have lost my passkeys")),
    ),
  )
}
