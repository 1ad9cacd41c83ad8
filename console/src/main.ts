// Pages by the fragment of the address. What a fragment holds, a code above all, never leaves the browser; it is taken
// out of the address as soon as it has been read.

import { readSettings } from "./api"
import { button, h, say } from "./dom"
import { account, logOut } from "./pages/account"
import { code } from "./pages/code"
import { login } from "./pages/login"
import { recover } from "./pages/recover"
import { register } from "./pages/register"
import { sign } from "./pages/sign"
import { broughtBack, sso } from "./pages/sso"
import { clearForPage, show, unusable } from "./problems"
import { session } from "./session"
import { failed } from "./working"

type Page = (query: URLSearchParams, next: string) => Node | Promise<Node>

const OPEN: Record<string, [title: string, page: Page]> = {
  "/login": ["Log in", login],
  "/sso": ["Single sign-on", sso],
  "/register": ["Finish your registration", register],
  "/code": ["Add a passkey with a code", code],
  "/recover": ["Recover your account", recover],
}
const OF_A_SESSION: Record<string, [title: string, page: Page]> = {
  "/account": ["Your account", account],
  "/sign": ["Sign a request", sign],
}

let turn = 0
/** Where somebody wanted to go before the login. */
let wanted = "#/account"

async function render(first: boolean): Promise<void> {
  const mine = (turn += 1)
  const fragment = location.hash.replace(/^#/, "")
  const returned = broughtBack(fragment) ?? broughtBack(location.search.slice(1))
  const [path = "", query = ""] = returned === null ? fragment.split("?") : ["/sso", returned.toString()]
  const known = session()
  if (OF_A_SESSION[path] !== undefined && known === null) {
    wanted = location.hash
    return void location.replace("#/login")
  }
  const found = OPEN[path] ?? OF_A_SESSION[path]
  if (found === undefined) return void location.replace(known === null ? "#/login" : "#/account")
  if (query !== "") history.replaceState(null, "", `${location.pathname}#${path}`)
  clearForPage()
  const [title, page] = found
  let content: Node
  try {
    content = await page(new URLSearchParams(query), wanted)
  } catch (error) {
    failed(error)
    content = h("section", {}, h("h1", {}, title), h("p", {}, "This page could not be loaded."))
  }
  if (mine !== turn) return
  if (OF_A_SESSION[path] !== undefined) wanted = "#/account"
  document.title = `${title} · Countersign`
  header(path, known?.username)
  const main = document.getElementById("main")!
  main.replaceChildren(content)
  // Screen readers say where they are; on the first page they do so by themselves.
  if (!first) focusHeading(main)
}

function focusHeading(main: HTMLElement): void {
  const heading = main.querySelector("h1")!
  heading.tabIndex = -1
  heading.focus()
}

function header(path: string, username: string | undefined): void {
  const link = (to: string, text: string) => {
    return h("a", { href: `#${to}`, ...(path === to ? { attributes: { "aria-current": "page" } } : {}) }, text)
  }
  const items = username === undefined
    ? [link("/login", "Log in")]
    : [link("/account", "Account"), link("/sign", "Sign"), button("Log out", () => void logOut(), "link")]
  document.getElementById("top")!.replaceChildren(
    h("span", { className: "brand" }, "Countersign"),
    h("nav", { attributes: { "aria-label": "Pages" } }, ...items),
  )
}

function notice(): HTMLElement {
  const text = "Sandbox: for development, guards nothing of value."
  return h("aside", { className: "sandbox", attributes: { "aria-label": "Notice" } }, text)
}

// What was said covers a little of the page: it goes when its person goes on.
for (const sign of ["pointerdown", "keydown", "wheel", "touchmove"]) {
  addEventListener(sign, () => document.body.classList.contains("busy") || say(""), { passive: true })
}

// Of several changes at once the last one counts: what an earlier one would show, a page of it has taken out already.
addEventListener("hashchange", ({ newURL }) => void (newURL === location.href && render(false)))
void render(true)

readSettings().then(
  ({ sandbox }) => {
    if (sandbox) document.body.prepend(notice())
  },
  () => say("The settings of the server could not be read."),
)
const problem = unusable()
if (problem) show(problem, true)
