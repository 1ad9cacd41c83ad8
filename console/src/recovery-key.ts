// The recovery code: a long random text from which the id of a recovery key and the key that encrypts it are derived. The
// server keeps the encrypted private key, and the code is with its owner alone: neither recovers anything by itself.

import { BrowserKeySigner } from "@dfns/sdk-browser"
import { fromBase64Url, toBase64Url } from "@dfns/sdk/utils"
import { Buffer } from "buffer"
import { base64url } from "./commitment"

/** The alphabet of all codes here: nothing that looks like something else. */
const ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
const SECRET_BYTES = 20
const SYMBOLS = 35
const KEY = { name: "ECDSA", namedCurve: "P-256" }

/** What was typed is no recovery code: a symbol is wrong or missing. */
export class NoRecoveryCode extends Error {}

/** A credential for a body of the API. */
export interface NewRecoveryKey {
  credentialKind: "RecoveryKey"
  credentialInfo: { credId: string; clientData: string; attestationData: string }
  encryptedPrivateKey: string
}

/** 160 random bits and 15 bits that find a slip, in seven groups of five. */
export async function newRecoveryCode(): Promise<string> {
  return written(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)))
}

async function written(secret: Uint8Array<ArrayBuffer>): Promise<string> {
  const check = new Uint8Array(await crypto.subtle.digest("SHA-256", secret))
  const bits = [...secret, ...check.slice(0, 2)].map((byte) => byte.toString(2).padStart(8, "0")).join("")
  const symbols = Array.from({ length: SYMBOLS }, (_, at) => ALPHABET[parseInt(bits.slice(at * 5, at * 5 + 5), 2)])
  return symbols.join("").replace(/.{5}(?=.)/g, "$&-")
}

/** Throws `NoRecoveryCode`. Case, spaces and dashes do not matter. */
async function read(code: string): Promise<Uint8Array<ArrayBuffer>> {
  const symbols = [...code.toUpperCase().replace(/[\s-]/g, "")].map((symbol) => ALPHABET.indexOf(symbol))
  if (symbols.length !== SYMBOLS || symbols.includes(-1)) throw new NoRecoveryCode()
  const bits = symbols.map((symbol) => symbol.toString(2).padStart(5, "0")).join("")
  const secret = Uint8Array.from({ length: SECRET_BYTES }, (_, at) => parseInt(bits.slice(at * 8, at * 8 + 8), 2))
  const again = await written(secret)
  if (again.replaceAll("-", "") !== symbols.map((symbol) => ALPHABET[symbol]).join("")) throw new NoRecoveryCode()
  return secret
}

async function derived(secret: Uint8Array<ArrayBuffer>): Promise<{ credId: string; key: CryptoKey }> {
  const base = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveBits", "deriveKey"])
  const way = (info: string) => {
    return { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: new TextEncoder().encode(info) }
  }
  const id = await crypto.subtle.deriveBits(way("countersign.recovery.id.v1"), base, 192)
  const aes = { name: "AES-GCM", length: 256 }
  const key = await crypto.subtle.deriveKey(way("countersign.recovery.key.v1"), base, aes, false, ["encrypt", "decrypt"])
  return { credId: base64url(new Uint8Array(id)), key }
}

/** The id of the recovery key that belongs to a code. */
export async function recoveryKeyId(code: string): Promise<string> {
  return (await derived(await read(code))).credId
}

/** A new recovery key for a code, which signs the challenge. */
export async function createRecoveryKey(code: string, challenge: unknown): Promise<NewRecoveryKey> {
  const { credId, key } = await derived(await read(code))
  const keyPair = await crypto.subtle.generateKey(KEY, true, ["sign", "verify"])
  const made = await new BrowserKeySigner({ keyPair, credId }).create(challenge as never)
  const iv = crypto.getRandomValues(new Uint8Array(12))
  const plain = await crypto.subtle.exportKey("pkcs8", keyPair.privateKey)
  const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, plain)
  const encryptedPrivateKey = base64url(new Uint8Array([...iv, ...new Uint8Array(sealed)]))
  return { credentialKind: "RecoveryKey", credentialInfo: made.credentialInfo as never, encryptedPrivateKey }
}

/** Have the recovery key of a code sign the new credentials. */
export async function signNewCredentials(code: string, encrypted: string, newCredentials: unknown): Promise<unknown> {
  const { credId, key } = await derived(await read(code))
  const bytes = new Uint8Array(fromBase64Url(encrypted))
  const plain = await crypto.subtle.decrypt({ name: "AES-GCM", iv: bytes.slice(0, 12) }, key, bytes.slice(12))
  const privateKey = await crypto.subtle.importKey("pkcs8", plain, KEY, false, ["sign"])
  const signer = new BrowserKeySigner({ keyPair: { privateKey } as CryptoKeyPair, credId })
  const challenge = toBase64Url(Buffer.from(JSON.stringify(newCredentials)))
  const signed = await signer.sign({ challenge, allowCredentials: { key: [{ type: "public-key", id: credId }] } } as never)
  return { ...signed, kind: "RecoveryKey" }
}
