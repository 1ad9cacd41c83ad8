// Work behind a button: one thing at a time, always an end, and every failure explained.

import { say } from "./dom"
import { clear, codeOf, explain, LoginElsewhere, show } from "./problems"
import { forgetSession, session } from "./session"

let busy = false

/** Do it unless something is under way; `text` says what. */
export async function work(text: string, task: () => Promise<void>): Promise<void> {
  if (busy) return
  busy = true
  clear()
  say(text)
  document.body.classList.add("busy")
  document.getElementById("main")!.setAttribute("aria-busy", "true")
  try {
    await task()
  } catch (error) {
    failed(error)
  } finally {
    busy = false
    document.body.classList.remove("busy")
    document.getElementById("main")!.removeAttribute("aria-busy")
  }
}

/** Explain a failure; a session that has ended is forgotten, and its person asked to log in, each where they can. */
export function failed(error: unknown): void {
  say("")
  const ended = codeOf(error) === "UNAUTHENTICATED" && session() !== null
  const elsewhere = error instanceof LoginElsewhere
  show(explain(error), ended || elsewhere)
  if (elsewhere) location.hash = "#/sso"
  if (!ended) return
  forgetSession()
  location.hash = "#/login"
}
