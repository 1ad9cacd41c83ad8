import { auth } from "../api"
import { field, form, h, say } from "../dom"
import { createPasskey, type EnrolmentChallenge } from "../passkeys"
import { work } from "../working"

/** Add a passkey of this device to an account that is logged in elsewhere. */
export function code(query: URLSearchParams): Node {
  const typed = h("input", { type: "text", required: true, value: query.get("code") ?? "", autocomplete: "one-time-code", spellcheck: false, autocapitalize: "characters" })
  const name = h("input", { type: "text", required: true, maxLength: 100, value: "Another passkey", autocomplete: "off" })
  const submit = () =>
    work("Waiting for your new passkey …", async () => {
      const body = { code: typed.value.trim(), credentialKind: "Fido2" as const }
      const challenge = (await auth().createCredentialChallengeWithCode({ body })) as never as EnrolmentChallenge
      const passkey = await createPasskey(challenge)
      const made = { ...passkey, challengeIdentifier: challenge.challengeIdentifier, credentialName: name.value.trim() }
      await auth().createCredentialWithCode({ body: made as never })
      say("The passkey was added. You can log in with it.")
      location.hash = "#/login"
    })
  return h(
    "section",
    {},
    h("h1", {}, "Add a passkey with a code"),
    h("p", {}, "On a device where you are logged in, open your account and make a code. It counts for one minute."),
    form(
      () => void submit(),
      field("Code", typed, "Three groups of three."),
      field("Name of this passkey", name),
      h("div", { className: "actions" }, h("button", { type: "submit", className: "primary" }, "Make a passkey")),
    ),
    h("p", {}, h("a", { href: "#/login" }, "Back to the login")),
  )
}
