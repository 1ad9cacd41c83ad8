// An identity provider (OpenID Connect) for tests. Lines of JSON on stdin: the first has `keys` (private JWKs), `clients`
// and `accounts` (claims by subject), later ones change what they name. A line on stdout answers each, the first with the
// issuer. Whoever posts `login` to the page of an interaction is that subject; consent is given without asking.
import http from "node:http"
import readline from "node:readline"

import { Provider } from "oidc-provider"

const FORM = "<!doctype html><title>Provider</title><form method=post><label>Who are you? <input name=login></label></form>"
const state = { keys: [], clients: [], accounts: {} }
let provider, callback

const server = http.createServer(async (request, response) => {
    if (!request.url.startsWith("/interaction/")) return callback(request, response)
    if (request.method !== "POST") return response.setHeader("content-type", "text/html").end(FORM)
    let form = ""
    for await (const part of request) form += part
    const login = { accountId: new URLSearchParams(form).get("login") }
    return provider.interactionFinished(request, response, { login })
})

function make(issuer) {
    provider = new Provider(issuer, {
        clients: state.clients,
        jwks: { keys: state.keys },
        cookies: { keys: ["of a test"] },
        claims: { openid: ["sub"], email: ["email", "email_verified"] },
        conformIdTokenClaims: false,
        features: { devInteractions: { enabled: false } },
        pkce: { required: () => true },
        enabledJWA: { idTokenSigningAlgValues: ["RS256", "ES256", "EdDSA"] },
        interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
        ttl: { AccessToken: 600, AuthorizationCode: 600, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
        findAccount: (_context, sub) => ({ accountId: sub, claims: () => ({ sub, ...state.accounts[sub] }) }),
        async loadExistingGrant({ oidc }) {
            const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId })
            grant.addOIDCScope("openid email")
            await grant.save()
            return grant
        },
    })
    callback = provider.callback()
}

server.listen(0, "127.0.0.1", async () => {
    const issuer = `http://127.0.0.1:${server.address().port}`
    for await (const line of readline.createInterface({ input: process.stdin })) {
        Object.assign(state, JSON.parse(line))
        make(issuer)
        process.stdout.write(JSON.stringify({ issuer }) + "\n")
    }
    process.exit(0)
})
