// The part of a form that gives its owner a recovery code, before anything depends on it.

import { button, h, say } from "./dom"
import { createRecoveryKey, type NewRecoveryKey, newRecoveryCode } from "./recovery-key"

export interface RecoveryField {
  element: HTMLElement
  /** Whether the form may go on; the focus goes to what is missing. */
  ready: () => boolean
  /** The new recovery key, `undefined` where the person wants none. */
  create: (challenge: unknown) => Promise<NewRecoveryKey | undefined>
}

/** `required`: there is nothing to choose. */
export async function recoveryField(legend = "Recovery code", required = false): Promise<RecoveryField> {
  const code = await newRecoveryCode()
  const wanted = h("input", { type: "checkbox", checked: true, id: "recovery-wanted" })
  const kept = h("input", { type: "checkbox", id: "recovery-kept" })
  const shown = h("output", { className: "code", id: "recovery-code", attributes: { "aria-label": legend } }, code)
  const inner = h(
    "div",
    {},
    h("p", {}, "If you lose every passkey, this code and a mail to you let you in again. It is shown this once, and nobody else has it."),
    shown,
    h(
      "div",
      { className: "actions" },
      button("Copy", () => {
        void navigator.clipboard.writeText(code).then(
          () => say("Recovery code copied."),
          () => say("Your browser does not let this page copy: write the code down."),
        )
      }),
      button("Save as file", () => save(code)),
    ),
    h("div", { className: "check" }, kept, h("label", { htmlFor: kept.id }, "I have stored the recovery code in a safe place")),
  )
  wanted.addEventListener("change", () => {
    inner.hidden = !wanted.checked
  })
  const choice = h("div", { className: "check" }, wanted, h("label", { htmlFor: wanted.id }, "Give me a recovery code (advised)"))
  return {
    element: h("fieldset", {}, h("legend", {}, legend), required ? null : choice, inner),
    ready: () => {
      if (!wanted.checked || kept.checked) return true
      say("First store the recovery code, then tick that you have.")
      kept.focus()
      return false
    },
    create: async (challenge) => (wanted.checked ? createRecoveryKey(code, challenge) : undefined),
  }
}

function save(code: string): void {
  const text = `Recovery code for ${location.host}\n\n${code}\n\nWhoever has it and reads your mail can take over your account.\n`
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }))
  h("a", { href: url, download: `recovery-code-${location.hostname}.txt` }).click()
  setTimeout(() => URL.revokeObjectURL(url), 1000)
}
