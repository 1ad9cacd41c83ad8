// The official TypeScript SDK, unmodified, driven by lines of JSON.
//
// The first line configures the client: {"baseUrl", "orgId", "authToken", "credId", "privateKey"}, and "delegated": true
// for the client that leaves signing to others; with "appId" it is the SDK 0.6.12, which names that application. Each
// further line is a call, {"id", "call": "keys.createKey", "args": [...]}; the answer is {"id", "result" | "error",
// "exchanges"}, where exchanges are the HTTP exchanges that the SDK made for it: names of the headers sent, bodies as
// text. Calls run one after the other.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const require = createRequire(import.meta.url)

// An SDK takes `fetch` from its copy of this module when it is loaded, so the recorder has to be in place before that.
let exchanges = []
function record(crossFetch) {
  const send = crossFetch.fetch
  crossFetch.fetch = async (url, options) => {
    const response = await send(url, options)
    // Read once and handed on anew: a clone of a long body waits until its twin is read.
    const body = await response.text()
    const { status, statusText, headers } = response
    exchanges.push({
      method: options?.method ?? 'GET',
      url: String(url),
      status,
      headers: Object.fromEntries(headers.entries()),
      sent: Object.keys(options?.headers ?? {}),
      body,
    })
    return new crossFetch.Response(body, { url: response.url, status, statusText, headers })
  }
}

function load(name) {
  record(createRequire(require.resolve(name))('cross-fetch'))
  return require(name)
}

function connect({ baseUrl, orgId, authToken, credId, privateKey, delegated, appId }) {
  const { DfnsApiClient, DfnsDelegatedApiClient } = load(appId ? '@dfns/sdk-0.6' : '@dfns/sdk')
  const { AsymmetricKeySigner } = require('@dfns/sdk-keysigner')
  const options = appId ? { baseUrl, appId, authToken } : { baseUrl, orgId, authToken }
  if (delegated) return new DfnsDelegatedApiClient(options)
  return new DfnsApiClient({ ...options, signer: new AsymmetricKeySigner({ credId, privateKey }) })
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
