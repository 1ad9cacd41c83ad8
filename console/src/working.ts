// Work behind a button: one thing at a time, always an end, and every failure explained.

import { say } from "./dom"
import { clear, codeOf, type Doing, explain, show } from "./problems"
import { forgetSession, session } from "./session"

let busy = false

/**
 * Do it unless something is under way. `doing`: what a passkey will be asked for; `failed`: what else is to be done about
 * a refusal, by its code.
 */
export async function work(
  text: string,
  doing: Doing,
  task: () => Promise<void>,
  failed?: (code: string) => void,
): Promise<void> {
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
    show(explain(error, doing), ended)
    failed?.(codeOf(error))
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
