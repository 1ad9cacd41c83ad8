// What a person sees before signing: method, path and payload, in the very values that are hashed.

import type { Action } from "./commitment"
import { button, h } from "./dom"
import { type Json, Decimal, parsePayload } from "./strict-json"

/** Longer texts are folded; all of them can be read. */
const FOLDED = 96
// Marks that are not seen, or that turn the writing around: two texts may look alike and differ in them.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}\u00a0\u2000-\u200a\u3000]/gu

/** Ask; true if the person agrees. `why`: what the console does it for, in a few words. */
export function review(action: Action, digest: string, why: string, username: string): Promise<boolean> {
  return new Promise((resolve) => {
    const dialog = h("dialog", { attributes: { "aria-labelledby": "review-title" } })
    const close = (agreed: boolean) => {
      dialog.close()
      dialog.remove()
      resolve(agreed)
    }
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault()
      close(false)
    })
    dialog.append(
      h("h2", { id: "review-title", tabIndex: -1 }, "Sign this request?"),
      h("p", {}, why),
      h(
        "div",
        { className: "scroll", tabIndex: 0, attributes: { role: "region", "aria-label": "The request" } },
        h("dl", { className: "request" }, ...lines(action, username)),
        shownPayload(action.payload),
      ),
      h(
        "details",
        {},
        h("summary", {}, "What your signature covers"),
        h("p", {}, "This page computed the digest below from the request above, and the server's challenge names the same. Nothing else is signed."),
        h("code", { className: "digest" }, digest),
      ),
      h(
        "div",
        { className: "actions" },
        button("Sign with passkey", () => close(true), "primary"),
        button("Cancel", () => close(false)),
      ),
    )
    document.body.append(dialog)
    dialog.showModal()
    dialog.querySelector("h2")!.focus()
  })
}

function lines(action: Action, username: string): HTMLElement[] {
  const rows = [["As", username], ["Method", action.method], ["Path", action.path]] as const
  return rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", { className: "value" }, visible(value))])
}

/** The payload as a list of members and their values. */
export function shownPayload(payload: string): HTMLElement {
  const members = flat(parsePayload(payload), "")
  if (members.length === 0) return h("p", { className: "hint" }, "No payload.")
  const rows = members.map(([path, value]) => {
    return h("tr", {}, h("th", { scope: "row" }, visible(path)), h("td", { className: "value" }, ...shown(value)))
  })
  const head = h("tr", {}, h("th", { scope: "col" }, "Member"), h("th", { scope: "col" }, "Value"))
  const caption = h("caption", {}, `Payload: ${members.length} ${members.length === 1 ? "value" : "values"}`)
  return h("table", { className: "payload" }, caption, h("thead", {}, head), h("tbody", {}, ...rows))
}

type Leaf = Exclude<Json, Map<string, Json> | Json[]> | "{}" | "[]"
type Row = [path: string, value: { leaf: Leaf; empty: boolean }]

function flat(value: Json, path: string): Row[] {
  const within = (name: string) => (path === "" ? name : `${path} › ${name}`)
  if (value instanceof Map) {
    if (value.size === 0 && path !== "") return [[path, { leaf: "{}", empty: true }]]
    return [...value].flatMap(([name, member]) => flat(member, within(name)))
  }
  if (Array.isArray(value)) {
    if (value.length === 0) return [[path, { leaf: "[]", empty: true }]]
    return value.flatMap((item, at) => flat(item, within(`${at + 1}.`)))
  }
  return [[path, { leaf: value, empty: false }]]
}

function shown({ leaf, empty }: Row[1]): (Node | string)[] {
  if (empty) return [h("em", {}, leaf === "{}" ? "empty object" : "empty list")]
  if (leaf instanceof Decimal) return [h("span", { className: "number" }, leaf.text)]
  if (typeof leaf !== "string") return [h("em", {}, leaf === null ? "nothing (null)" : leaf ? "yes (true)" : "no (false)")]
  if (leaf === "") return [h("em", {}, "empty text")]
  const text = visible(leaf)
  if (text.length <= FOLDED) return [text]
  const summary = h("summary", {}, `${text.slice(0, 32)}… (${leaf.length} characters, show all)`)
  return [h("details", {}, summary, text)]
}

/** The text with marks that nobody sees spelt out, so that what is read is what is signed. */
export function visible(text: string): string {
  return text.replace(HIDDEN, (mark) => `⟨U+${mark.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}⟩`)
}
