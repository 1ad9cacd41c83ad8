// Work behind a button: one thing at a time, always an end, and every failure explained.

import { say } from "./dom"
import { clear, codeOf, explain, show } from "./problems"
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
    say("")
    const ended = codeOf(error) === "UNAUTHENTICATED" && session() !== null
    show(explain(error), ended)
    if (ended) {
      forgetSession()
      location.hash = "#/login"
    }
  } finally {
    busy = false
    document.body.classList.remove("busy")
    document.getElementById("main")!.removeAttribute("aria-busy")
  }
}
