// Elements without markup: texts stay texts, and the content security policy lets nothing else through.

type Child = Node | string | null | undefined | false
type Properties<T> = { [K in keyof Omit<T, "attributes">]?: T[K] } & { attributes?: Record<string, string> }

export function h<K extends keyof HTMLElementTagNameMap>(
  name: K,
  properties?: Properties<HTMLElementTagNameMap[K]>,
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name)
  const { attributes, ...rest } = properties ?? {}
  for (const [key, value] of Object.entries(rest)) Reflect.set(element, key, value)
  for (const [key, value] of Object.entries(attributes ?? {})) element.setAttribute(key, value)
  element.append(...children.filter((child): child is Node | string => Boolean(child)))
  return element
}

let counter = 0

/** An input with its label, and a hint that screen readers read with it. */
export function field<T extends HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement>(
  label: string,
  input: T,
  hint?: string,
): HTMLElement {
  input.id ||= `field-${(counter += 1)}`
  const explained = hint === undefined ? null : h("p", { className: "hint", id: `${input.id}-hint` }, hint)
  if (explained) input.setAttribute("aria-describedby", explained.id)
  return h("div", { className: "field" }, h("label", { htmlFor: input.id }, label), input, explained)
}

export function button(label: string, onclick: () => void, className = ""): HTMLButtonElement {
  return h("button", { type: "button", className, onclick }, label)
}

/** A form that never leaves the page. */
export function form(submit: () => void, ...children: Child[]): HTMLFormElement {
  const element = h("form", {}, ...children)
  element.addEventListener("submit", (event) => {
    event.preventDefault()
    submit()
  })
  return element
}

/** Say something to everybody, screen readers included, without moving the focus. */
export function say(text: string): void {
  document.getElementById("status")!.textContent = text
}

export function date(iso: string | number): string {
  return new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })
}
