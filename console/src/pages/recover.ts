import { auth } from "../api"
import { button, field, form, h, say } from "../dom"
import { createPasskey } from "../passkeys"
import { recoveryField } from "../recovery-field"
import { recoveryKeyId, signNewCredentials } from "../recovery-key"
import { organisation } from "../session"
import { whoFields } from "../who"
import { work } from "../working"

/** Come back after all passkeys were lost: a mailed code and the recovery code for a new passkey. */
export async function recover(query: URLSearchParams): Promise<Node> {
  const who = whoFields(query.get("username") ?? "", query.get("org") ?? organisation())
  const mailed = h("input", { type: "text", required: true, value: query.get("code") ?? "", autocomplete: "one-time-code", spellcheck: false, autocapitalize: "characters" })
  const kept = h("input", { type: "text", required: true, autocomplete: "off", spellcheck: false, autocapitalize: "characters" })
  const next = await recoveryField("New recovery code")
  const ask = button("Send me a code", () => {
    void work("Asking for a code …", async () => {
      if (!who.username.reportValidity()) return say("")
      await auth().sendRecoveryCode({ body: who.body() })
      say("If your account can be recovered, a code is on its way to you.")
      mailed.focus()
    })
  })
  const submit = () => {
    if (!next.ready()) return
    void work("Waiting for your new passkey …", async () => {
      const credentialId = await recoveryKeyId(kept.value)
      const body = { ...who.body(), verificationCode: mailed.value.trim(), credentialId }
      const challenge = await auth().createRecoveryChallenge({ body })
      const encrypted = challenge.allowedRecoveryCredentials[0]?.encryptedRecoveryKey ?? ""
      const passkey = await createPasskey(challenge)
      const recoveryCredential = await next.create(challenge)
      const newCredentials = {
        firstFactorCredential: { ...passkey, credentialName: "First passkey" },
        ...(recoveryCredential && { recoveryCredential: { ...recoveryCredential, credentialName: "Recovery code" } }),
      }
      const recovery = await signNewCredentials(kept.value, encrypted, newCredentials)
      const done = { recovery, newCredentials }
      await auth(challenge.temporaryAuthenticationToken).recover({ body: done as never })
      say("Your account is yours again, and everything that was enrolled before is void. Log in with your new passkey.")
      location.hash = "#/login"
    })
  }
  return h(
    "section",
    {},
    h("h1", {}, "Recover your account"),
    h("p", {}, "For people who have lost every passkey. All passkeys, sessions and access tokens of the account end."),
    form(
      submit,
      h("h2", {}, "1. Have a code sent to you"),
      who.element,
      h("div", { className: "actions" }, ask),
      h("h2", {}, "2. Enter both codes"),
      field("Code from the mail", mailed),
      field("Your recovery code", kept, "Seven groups of five; you stored it when you registered."),
      h("h2", {}, "3. Begin anew"),
      next.element,
      h("div", { className: "actions" }, h("button", { type: "submit", className: "primary" }, "Make a passkey and recover")),
    ),
    h("p", {}, h("a", { href: "#/login" }, "Back to the login")),
  )
}
