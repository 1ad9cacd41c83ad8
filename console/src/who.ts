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
      h("details", {}, h("summary", {}, "Organisation"), field("Organisation id", org, "Only where this server has several.")),
    ),
    body: () => {
      const { orgId } = whichOrganisation(org.value)
      if (orgId !== undefined) keepOrganisation(orgId)
      // The SDK's types ask for an organisation; the server does not where there is only one.
      return { username: name.value.trim(), orgId: orgId as string }
    },
  }
}

export function organisationField(orgId: string): HTMLInputElement {
  return h("input", { type: "text", value: orgId, autocomplete: "off", spellcheck: false, autocapitalize: "none", placeholder: "or-…" })
}

/** Left out of a body where it is empty. */
export function whichOrganisation(typed: string): { orgId?: string } {
  return typed.trim() === "" ? {} : { orgId: typed.trim() }
}
