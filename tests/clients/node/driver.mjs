// The official TypeScript SDK, unmodified, driven by lines of JSON.
//
// The first line configures the client: {"baseUrl", "orgId", "authToken", "credId", "privateKey"}, and "delegated": true
// for the client that leaves signing to others. Each further line is a call, {"id", "call": "keys.createKey",
// "args": [...]}; the answer is {"id", "result" | "error", "exchanges"}, where
// exchanges are the HTTP exchanges that the SDK made for it, bodies as text. Calls run one after the other.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const require = createRequire(import.meta.url)

// The SDK takes `fetch` from this module when it is loaded, so the recorder has to be in place before that.
const crossFetch = require('cross-fetch')
const send = crossFetch.fetch
let exchanges = []
crossFetch.fetch = async (url, options) => {
  const response = await send(url, options)
  exchanges.push({
    method: options?.method ?? 'GET',
    url: String(url),
    status: response.status,
    headers: Object.fromEntries(response.headers.entries()),
    body: await response.clone().text(),
  })
  return response
}

const { DfnsApiClient, DfnsDelegatedApiClient } = require('@dfns/sdk')
const { AsymmetricKeySigner } = require('@dfns/sdk-keysigner')

function connect({ baseUrl, orgId, authToken, credId, privateKey, delegated }) {
  if (delegated) return new DfnsDelegatedApiClient({ baseUrl, orgId, authToken })
  const signer = new AsymmetricKeySigner({ credId, privateKey })
  return new DfnsApiClient({ baseUrl, orgId, authToken, signer })
}

function describe(error) {
  return {
    name: error.name,
    message: error.message,
    httpStatus: error.httpStatus ?? null,
    body: error.context?.body ?? error.context ?? null,
  }
}

async function answer(client, { id, call, args }) {
  exchanges = []
  try {
    const [area, method] = call.split('.')
    const result = (await client[area][method](...args)) ?? null
    return { id, result, exchanges }
  } catch (error) {
    return { id, error: describe(error), exchanges }
  }
}

let client
for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line)
  if (client === undefined) client = connect(message)
  else process.stdout.write(JSON.stringify(await answer(client, message)) + '\n')
}
