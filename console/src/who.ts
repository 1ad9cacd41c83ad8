// Username and organisation, as several pages ask for them.

import { field, h } from "./dom"
import { keepOrganisation, organisation } from "./session"

export interface Who {
  username: HTMLInputElement
  element: HTMLElement
  /** Members for a body: the organisation is left out where the server has only one. */
  body: () => { username: string; orgId: string }
}

export function whoFields(username = "", orgId = organisation(), required = true): Who {
  const name = h("input", { type: "text", value: username, required, autocomplete: "username", spellcheck: false, autocapitalize: "none" })
  const org = organisationField(orgId)
  return {
    username: name,
    element: h(
      "div",
      {},
      field("Username", name, "Usually your mail address."),
      org.element,
    ),
    // The SDK's types ask for an organisation; the server does not where there is only one.
    body: () => ({ username: name.value.trim(), orgId: org.body().orgId as string }),
  }
}

export interface Organisation {
  element: HTMLElement
  /** The member for a body, which this device remembers. */
  body: () => { orgId?: string }
}

export function organisationField(orgId = organisation()): Organisation {
  const org = h("input", { type: "text", value: orgId, autocomplete: "off", spellcheck: false, autocapitalize: "none", placeholder: "or-…" })
  return {
    element: h("details", {}, h("summary", {}, "Organisation"), field("Organisation id", org, "Only where this server has several.")),
    body: () => {
      const chosen = whichOrganisation(org.value)
      if (chosen.orgId !== undefined) keepOrganisation(chosen.orgId)
      return chosen
    },
  }
}

/** Left out of a body where it is empty. */
export function whichOrganisation(typed: string): { orgId?: string } {
  return typed.trim() === "" ? {} : { orgId: typed.trim() }
}
