import { auth, beyondSdk, countersign } from "../api"
import { button, date, field, form, h, say } from "../dom"
import { createPasskey, type EnrolmentChallenge } from "../passkeys"
import { recoveryField } from "../recovery-field"
import { forgetSession, serverNow, session } from "../session"
import { work } from "../working"

interface Credential {
  kind: string
  credentialUuid: string
  dateCreated: string
  isActive: boolean
  name: string
  publicKey: string
  relyingPartyId: string
  origin: string
}

interface Session {
  sessionId: string
  name: string
  dateCreated: string
  dateExpires: string
  isCurrent: boolean
  credentialUuid?: string
}

const KINDS: Record<string, string> = {
  Fido2: "Passkey",
  Key: "Key",
  PasswordProtectedKey: "Key behind a password",
  RecoveryKey: "Recovery key",
}

/** One's own credentials and sessions. */
export async function account(): Promise<Node> {
  const known = session()!
  const [credentials, sessions] = await Promise.all([
    auth().listCredentials() as never as Promise<{ items: Credential[] }>,
    beyondSdk("GET", "/auth/sessions") as Promise<{ items: Session[] }>,
  ])
  const names = new Map(credentials.items.map((each) => [each.credentialUuid, each.name]))
  return h(
    "section",
    {},
    h("h1", {}, "Your account"),
    h(
      "dl",
      { className: "request" },
      ...[["Username", known.username], ["User", known.userId], ["Organisation", known.orgId]].flatMap(([name, value]) => {
        return [h("dt", {}, name!), h("dd", { className: "value" }, value!)]
      }),
    ),
    h("h2", {}, "Passkeys and keys"),
    h("ul", { className: "cards" }, ...credentials.items.map(credentialCard)),
    addHere(),
    addElsewhere(),
    await addRecovery(),
    h("h2", {}, "Sessions"),
    h("ul", { className: "cards" }, ...sessions.items.map((each) => sessionCard(each, names))),
    h(
      "div",
      { className: "actions" },
      button("Log out everywhere", () => void logOut(true)),
    ),
  )
}

/** End this session, or all. What the server says does not matter to this tab: it forgets the token. */
export async function logOut(allSessions = false): Promise<void> {
  await work("Logging out …", async () => {
    await auth().logout({ body: allSessions ? { allSessions } : {} } as never)
    say(allSessions ? "You are logged out everywhere." : "You are logged out.")
    forgetSession()
    location.hash = "#/login"
  })
}

function credentialCard(each: Credential): HTMLElement {
  const sets = (method: string, path: string, body: object | null, why: string, done: string) => () => {
    void change({ method, path, payload: body === null ? "" : JSON.stringify(body) }, why, done)
  }
  const body = { credentialUuid: each.credentialUuid }
  return h(
    "li",
    {},
    h("h3", {}, each.name, " ", h("span", { className: each.isActive ? "badge" : "badge off" }, each.isActive ? "active" : "inactive")),
    h("p", {}, `${KINDS[each.kind] ?? each.kind}, since ${date(each.dateCreated)}${each.origin && `, made at ${each.origin}`}`),
    h("p", { className: "hint value" }, each.publicKey),
    h(
      "div",
      { className: "actions" },
      each.isActive
        ? named(each.name, "Deactivate", sets("PUT", "/auth/credentials/deactivate", body, `You deactivate “${each.name}”.`, "Deactivated."))
        : named(each.name, "Activate", sets("PUT", "/auth/credentials/activate", body, `You activate “${each.name}” again.`, "Activated.")),
      named(each.name, "Remove", sets("DELETE", `/auth/credentials/${each.credentialUuid}`, null, `You remove “${each.name}” for good.`, "Removed.")),
    ),
  )
}

function sessionCard(each: Session, names: Map<string, string>): HTMLElement {
  const by = each.credentialUuid === undefined ? each.name : `${each.name} with “${names.get(each.credentialUuid) ?? "a credential that is gone"}”`
  const end = () =>
    void work("Ending the session …", async () => {
      await beyondSdk("DELETE", `/auth/sessions/${each.sessionId}`)
      say("The session has ended.")
      reload()
    })
  return h(
    "li",
    {},
    h("h3", {}, `Since ${date(each.dateCreated)}`, " ", each.isCurrent && h("span", { className: "badge" }, "this one")),
    h("p", {}, `Opened by ${by}, until ${date(each.dateExpires)}`),
    !each.isCurrent && h("div", { className: "actions" }, named(`the session of ${date(each.dateCreated)}`, "End", end)),
  )
}

/** A button that screen readers tell from those of the other rows. */
function named(what: string, label: string, onclick: () => void): HTMLButtonElement {
  const made = button(label, onclick)
  made.setAttribute("aria-label", `${label} ${what}`)
  return made
}

function addHere(): HTMLElement {
  const name = h("input", { type: "text", required: true, maxLength: 100, value: "Another passkey", autocomplete: "off" })
  const add = () =>
    work("Waiting for your new passkey …", async () => {
      const challenge = (await auth().createCredentialChallenge({ body: { kind: "Fido2" } })) as never as EnrolmentChallenge
      const made = await createPasskey(challenge)
      await enrol({ ...made, challengeIdentifier: challenge.challengeIdentifier, credentialName: name.value.trim() })
    })
  return h(
    "details",
    {},
    h("summary", {}, "Add a passkey here"),
    h("p", {}, "On this computer, a phone near it, or a security key. First the new passkey is made, then one that you have signs for it."),
    form(() => void add(), field("Name", name), h("div", { className: "actions" }, h("button", { type: "submit" }, "Make a passkey"))),
  )
}

function addElsewhere(): HTMLElement {
  const shown = h("div", { attributes: { "aria-live": "polite" } })
  const make = () =>
    work("Asking for the challenge …", async () => {
      const expiration = new Date(serverNow() + 58_000).toISOString()
      const action = { method: "POST", path: "/auth/credentials/code", payload: JSON.stringify({ expiration }) }
      const done = await countersign(action, "You make a code with which a passkey of another device is added to your account.")
      if (done === null) return say("Nothing was signed.")
      const { code, expiration: ends } = done.body as { code: string; expiration: string }
      const left = h("span", { attributes: { "aria-hidden": "true" } })
      shown.replaceChildren(
        h("output", { className: "code", attributes: { "aria-label": "Code" } }, code),
        h("p", {}, `On the other device open ${location.host}${location.pathname}#/code and enter it. It counts once, and for a minute since you asked for it`, left, "."),
      )
      const tick = setInterval(() => {
        const seconds = Math.max(0, Math.round((Date.parse(ends) - serverNow()) / 1000))
        left.textContent = ` (${seconds} s)`
        if (seconds > 0 && left.isConnected) return
        clearInterval(tick)
        if (left.isConnected) shown.replaceChildren(h("p", {}, "The code has ended. Make another if you need one."))
      }, 1000)
      say("The code is shown. It counts for one minute.")
    })
  return h(
    "details",
    {},
    h("summary", {}, "Add a passkey from another device"),
    h("p", {}, "Have the other device at hand: the code counts for one minute."),
    h("div", { className: "actions" }, button("Make a code", () => void make())),
    shown,
  )
}

async function addRecovery(): Promise<HTMLElement> {
  const recovery = await recoveryField("Recovery code", true)
  const add = () => {
    if (!recovery.ready()) return
    void work("Asking for the challenge …", async () => {
      const challenge = (await auth().createCredentialChallenge({ body: { kind: "RecoveryKey" } })) as never as EnrolmentChallenge
      const made = await recovery.create(challenge)
      await enrol({ ...made, challengeIdentifier: challenge.challengeIdentifier, credentialName: "Recovery code" })
    })
  }
  return h(
    "details",
    {},
    h("summary", {}, "Add a recovery code"),
    form(add, recovery.element, h("div", { className: "actions" }, h("button", { type: "submit" }, "Add the recovery code"))),
  )
}

function enrol(body: Record<string, unknown> & { credentialName: string }): Promise<void> {
  const action = { method: "POST", path: "/auth/credentials", payload: JSON.stringify(body) }
  return sign(action, `You add “${body.credentialName}” to your account: it will act in your name.`, "Added.")
}

function change(action: Parameters<typeof countersign>[0], why: string, done: string): Promise<void> {
  return work("Asking for the challenge …", () => sign(action, why, done))
}

async function sign(action: Parameters<typeof countersign>[0], why: string, done: string): Promise<void> {
  if ((await countersign(action, why)) === null) return say("Nothing was signed.")
  say(done)
  reload()
}

function reload(): void {
  dispatchEvent(new HashChangeEvent("hashchange", { newURL: location.href }))
}
