// JSON with exactly one meaning, and its canonical form: the same rules as the server's reader
// (src/countersign/encoding/strictjson.py). JSON.parse takes the last of two members of one name, and rounds numbers.

const MAX_DEPTH = 64
const MAX_DIGITS = 64

/** A number as an exact decimal in plain notation: no exponent, no trailing zeros, no -0. */
export class Decimal {
  constructor(readonly text: string) {}
}

export type Json = null | boolean | string | Decimal | Json[] | Map<string, Json>

/** A text that is not strict JSON; the message says what is wrong. */
export class BadJson extends Error {}

/** The JSON object that the text holds, an empty one for no text at all. Throws `BadJson`. */
export function parsePayload(text: string): Map<string, Json> {
  if (text === "") return new Map()
  const value = new Reader(text).document()
  if (!(value instanceof Map)) throw new BadJson("The payload must be a JSON object: { … }.")
  return value
}

class Reader {
  private at = 0

  constructor(private readonly text: string) {
    if (!text.isWellFormed()) throw new BadJson("The text holds half of a character (a lone surrogate).")
  }

  document(): Json {
    this.space()
    const value = this.value(1)
    this.space()
    if (this.at < this.text.length) throw this.bad("nothing more")
    return value
  }

  private value(depth: number): Json {
    const next = this.text[this.at]
    if (next === "{" || next === "[") {
      if (depth > MAX_DEPTH) throw new BadJson(`Nested deeper than ${MAX_DEPTH} levels.`)
      return next === "{" ? this.object(depth) : this.array(depth)
    }
    if (next === '"') return this.string()
    for (const [word, value] of [["true", true], ["false", false], ["null", null]] as const) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length
        return value
      }
    }
    return this.number()
  }

  private object(depth: number): Map<string, Json> {
    const members = new Map<string, Json>()
    this.list("}", () => {
      if (this.text[this.at] !== '"') throw this.bad('a name in "quotes"')
      const name = this.string()
      if (members.has(name)) throw new BadJson(`The member ${JSON.stringify(name)} occurs twice.`)
      this.space()
      this.take(":")
      this.space()
      members.set(name, this.value(depth + 1))
    })
    return members
  }

  private array(depth: number): Json[] {
    const items: Json[] = []
    this.list("]", () => items.push(this.value(depth + 1)))
    return items
  }

  private list(end: string, item: () => void): void {
    this.at += 1
    this.space()
    if (this.text[this.at] === end) {
      this.at += 1
      return
    }
    for (;;) {
      item()
      this.space()
      if (this.text[this.at] === end) break
      this.take(",")
      this.space()
    }
    this.at += 1
  }

  private string(): string {
    const found = this.match(/"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y)
    if (found === null) throw this.bad("a text that ends, without raw control characters")
    const value = JSON.parse(found) as string
    if (!value.isWellFormed()) throw new BadJson("A text holds half of a character (a lone surrogate).")
    return value
  }

  private number(): Decimal {
    const found = this.match(/-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y)
    if (found === null) throw this.bad("a value")
    const [mantissa = "", exponent = ""] = found.toLowerCase().split("e")
    if (mantissa.replace(/[-.]/g, "").length > MAX_DIGITS) {
      throw new BadJson(`A number has more than ${MAX_DIGITS} digits.`)
    }
    const magnitude = exponent.replace(/^[+-]/, "").replace(/^0+/, "")
    if (magnitude.length > 2 || Number(magnitude) > MAX_DIGITS) {
      throw new BadJson(`A number has an exponent beyond ${MAX_DIGITS}.`)
    }
    return new Decimal(plain(mantissa, Number(exponent || "0")))
  }

  private match(pattern: RegExp): string | null {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.text)
    if (found === null) return null
    this.at = pattern.lastIndex
    return found[0]
  }

  private space(): void {
    this.match(/[ \t\n\r]*/y)
  }

  private take(mark: string): void {
    if (this.text[this.at] !== mark) throw this.bad(`"${mark}"`)
    this.at += 1
  }

  private bad(wanted: string): BadJson {
    const line = this.text.slice(0, this.at).split("\n").length
    const found = this.at < this.text.length ? JSON.stringify(this.text[this.at]) : "the end of the text"
    return new BadJson(`Not JSON: expected ${wanted}, found ${found} in line ${line}.`)
  }
}

function plain(mantissa: string, exponent: number): string {
  const negative = mantissa.startsWith("-")
  const [whole = "", fraction = ""] = mantissa.replace("-", "").split(".")
  const digits = whole + fraction
  const point = whole.length + exponent
  const padded = "0".repeat(Math.max(0, -point)) + digits + "0".repeat(Math.max(0, point - digits.length))
  const split = Math.max(0, point)
  const front = padded.slice(0, split).replace(/^0+/, "") || "0"
  const behind = padded.slice(split).replace(/0+$/, "")
  const text = behind ? `${front}.${behind}` : front
  return negative && text !== "0" ? `-${text}` : text
}

/** The canonical text of a value: no white space, members sorted by code point, the fewest escapes. */
export function canonical(value: Json): string {
  if (value === null || typeof value === "boolean") return String(value)
  if (typeof value === "string") return quoted(value)
  if (value instanceof Decimal) return value.text
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`
  const members = [...value].sort(([left], [right]) => byCodePoint(left, right))
  return `{${members.map(([name, member]) => `${quoted(name)}:${canonical(member)}`).join(",")}}`
}

function quoted(text: string): string {
  const escaped = text.replace(/["\\]/g, "\\$&").replace(/[\u0000-\u001f]/g, (mark) => {
    return `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`
  })
  return `"${escaped}"`
}

// The usual comparison is by UTF-16 units, which puts U+10000 before U+E000.
function byCodePoint(left: string, right: string): number {
  const [a, b] = [[...left], [...right]]
  for (let at = 0; at < Math.min(a.length, b.length); at += 1) {
    const difference = a[at]!.codePointAt(0)! - b[at]!.codePointAt(0)!
    if (difference !== 0) return difference
  }
  return a.length - b.length
}
