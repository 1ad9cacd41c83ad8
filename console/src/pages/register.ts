import { auth } from "../api"
import { button, field, form, h, say } from "../dom"
import { createPasskey } from "../passkeys"
import { recoveryField } from "../recovery-field"
import { organisation } from "../session"
import { whoFields } from "../who"
import { work } from "../working"

/** Finish a registration, by a link whose fragment holds the code, or by typing it. */
export async function register(query: URLSearchParams): Promise<Node> {
  const who = whoFields(query.get("username") ?? "", query.get("org") ?? organisation())
  const code = h("input", { type: "text", required: true, value: query.get("code") ?? "", autocomplete: "one-time-code", spellcheck: false, autocapitalize: "characters" })
  const recovery = await recoveryField()
  const again = button("Send me a new code", () => {
    void work("Asking for a new code …", async () => {
      if (!who.username.reportValidity()) return say("")
      await auth().resendRegistrationCode({ body: who.body() })
      code.value = ""
      say("If you are invited and not registered yet, a new code is on its way.")
    })
  })
  const submit = () => {
    if (!recovery.ready()) return
    void work("Waiting for your new passkey …", async () => {
      const challenge = await auth().createRegistrationChallenge({ body: { ...who.body(), registrationCode: code.value.trim() } })
      const passkey = await createPasskey(challenge)
      const recoveryCredential = await recovery.create(challenge)
      const body = {
        firstFactorCredential: { ...passkey, credentialName: "First passkey" },
        ...(recoveryCredential && { recoveryCredential: { ...recoveryCredential, credentialName: "Recovery code" } }),
      }
      await auth(challenge.temporaryAuthenticationToken).register({ body: body as never })
      say("You are registered. Log in with your new passkey.")
      location.hash = "#/login"
    })
  }
  return h(
    "section",
    {},
    h("h1", {}, "Finish your registration"),
    h("p", {}, "You make a passkey on this device or security key. From then on it logs you in and signs for you."),
    form(
      submit,
      who.element,
      field("Registration code", code, "From your invitation: four groups of four."),
      recovery.element,
      h("div", { className: "actions" }, h("button", { type: "submit", className: "primary" }, "Make a passkey and register"), again),
    ),
    h("p", {}, h("a", { href: "#/login" }, "I am registered: log in")),
  )
}
