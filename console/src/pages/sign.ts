import { fromBase64Url } from "@dfns/sdk/utils"
import { countersign } from "../api"
import { field, form, h, say } from "../dom"
import { visible } from "../review"
import { work } from "../working"

const METHODS = ["POST", "PUT", "DELETE"]

/** Sign any request of the API and send it, typed here or brought by a link. */
export function sign(query: URLSearchParams): Node {
  const brought = read(query.get("request"))
  const method = h("select", {}, ...METHODS.map((name) => h("option", { value: name, selected: name === brought?.method }, name)))
  const path = h("input", { type: "text", required: true, value: brought?.path ?? "", placeholder: "/keys", spellcheck: false, autocapitalize: "none", autocomplete: "off" })
  const payload = h("textarea", { rows: 8, value: brought?.payload ?? "", spellcheck: false, placeholder: '{"scheme": "EdDSA", "curve": "ed25519"}' })
  const result = h("section", { hidden: true, tabIndex: -1 })
  const submit = () =>
    work("Asking for the challenge …", async () => {
      result.hidden = true
      const action = { method: method.value, path: path.value.trim(), payload: payload.value.trim() }
      const why = brought === null ? "You typed this request." : "A link brought this request: sign it only if you expected it."
      const done = await countersign(action, why)
      if (done === null) return say("Nothing was signed.")
      const held = done.status === 202
      say(held ? "Signed. It waits for an approval." : "Signed and done.")
      result.replaceChildren(
        h("h2", {}, held ? "Waits for an approval" : "Done"),
        h("pre", { tabIndex: 0 }, JSON.stringify(done.body, null, 2).split("\n").map(visible).join("\n")),
      )
      result.hidden = false
      result.focus()
    })
  return h(
    "section",
    {},
    h("h1", {}, "Sign a request"),
    h("p", {}, "Any request of the API. You see it once more, exactly as it will be hashed, before your passkey signs."),
    brought && h("p", { className: "note" }, "A link filled this form. Check each value: whoever made the link chose it."),
    form(
      () => void submit(),
      h("div", { className: "row" }, field("Method", method), field("Path", path)),
      field("Payload", payload, "A JSON object, or nothing."),
      h("div", { className: "actions" }, h("button", { type: "submit", className: "primary" }, "Review and sign")),
    ),
    result,
  )
}

interface Brought {
  method: string
  path: string
  payload: string
}

/** Base64url of JSON with the three members as texts; `null` for none, and for anything else. */
function read(text: string | null): Brought | null {
  try {
    const value = JSON.parse(new TextDecoder().decode(fromBase64Url(text ?? ""))) as Partial<Brought>
    const { method, path, payload = "" } = value
    if (!METHODS.includes(method ?? "") || typeof path !== "string" || typeof payload !== "string") return null
    return { method: method!, path, payload }
  } catch {
    return null
  }
}
