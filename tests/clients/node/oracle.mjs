// A second implementation of the curves: one JSON array of questions on standard input, one array of answers on output.
// Bytes are hexadecimal. A question that throws is answered with {"error"}.
import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'

import { ed25519 } from '@noble/curves/ed25519.js'
import { schnorr, secp256k1, secp256k1_hasher } from '@noble/curves/secp256k1.js'
import * as starknet from '@scure/starknet'

const points = { secp256k1: secp256k1.Point, stark: starknet.Point, ed25519: ed25519.Point }
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'))
const hex = (data) => Buffer.from(data).toString('hex')
const number = (text) => BigInt(`0x${text}`)

// One non-hardened step of a derivation, from the point and the chain code.
function step(curve, point, chainCode, index) {
  const Point = points[curve]
  const order = Point.Fn.ORDER
  const suffix = Buffer.alloc(4)
  suffix.writeUInt32BE(index)
  const mac = (...parts) => createHmac('sha512', chainCode).update(Buffer.concat(parts)).digest()
  if (curve === 'ed25519') {
    const digest = mac(point.toBytes(), Buffer.from([0]), suffix)
    const shift = number(hex(digest.subarray(0, 32))) % order
    return [point.add(Point.BASE.multiply(shift)), digest.subarray(32)]
  }
  let digest = mac(point.toBytes(true), suffix)
  for (;;) {
    const shift = number(hex(digest.subarray(0, 32)))
    if (shift < order) {
      const child = shift === 0n ? point : point.add(Point.BASE.multiply(shift))
      if (!child.is0()) return [child, digest.subarray(32)]
    }
    digest = mac(Buffer.from([1]), digest.subarray(32), suffix)
  }
}

const answers = {
  starkPublicKey: ({ secret }) => hex(starknet.getPublicKey(secret, true)),
  starkSign: ({ secret, digest }) => {
    const { r, s } = starknet.sign(digest, secret)
    return { r: r.toString(16).padStart(64, '0'), s: s.toString(16).padStart(64, '0') }
  },
  starkVerify: ({ publicKey, digest, r, s }) =>
    starknet.verify(new starknet.Signature(number(r), number(s)), digest, publicKey),
  starkRecover: ({ digest, r, s, recid }) =>
    hex(new starknet.Signature(number(r), number(s), recid).recoverPublicKey(bytes(digest)).toBytes(true)),
  bip340Verify: ({ publicKey, message, signature }) =>
    schnorr.verify(bytes(signature), bytes(message), bytes(publicKey)),
  ed25519Verify: ({ publicKey, message, signature }) =>
    ed25519.verify(bytes(signature), bytes(message), bytes(publicKey)),
  hashToCurve: ({ message, tag }) => hex(secp256k1_hasher.hashToCurve(bytes(message), { DST: bytes(tag) }).toBytes(true)),
  multiply: ({ point, secret }) => hex(secp256k1.Point.fromBytes(bytes(point)).multiply(number(secret)).toBytes(true)),
  derive: ({ curve, publicKey, chainCode, path }) => {
    let point = points[curve].fromBytes(bytes(publicKey))
    let code = bytes(chainCode)
    for (const index of path) [point, code] = step(curve, point, code, index)
    return { publicKey: hex(point.toBytes(true)), chainCode: hex(code) }
  },
}

const questions = JSON.parse(readFileSync(0, 'utf8'))
process.stdout.write(
  JSON.stringify(
    questions.map(({ ask, ...about }) => {
      try {
        return answers[ask](about)
      } catch (error) {
        return { error: String(error) }
      }
    }),
  ),
)
