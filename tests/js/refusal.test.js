/** A refusal is told from an outage, in every request of the page. */
import assert from "node:assert/strict"
import { createServer } from "node:http"
import test from "node:test"

import { AGAIN } from "telltale/live/protocol.js"
import { polling } from "telltale/live/polling.js"
import { sse } from "telltale/live/sse.js"
import { isRefusal } from "telltale/refusal.js"
import { ActionFailed, ActionRefused, TicketRefused, fetchTicket, submitAction, takeNotice } from "telltale/requests.js"

import { Recorder, until } from "./recorder.js"
import { SimulatedPage, settle } from "./simulated-page.js"

const HTML = { "Content-Type": "text/html; charset=utf-8" }
const html = (status, headers = {}) => new Response("<h1>Sign in</h1>", { status, headers: { ...HTML, ...headers } })
const redirect = (status, location) => new Response(null, { status, headers: { Location: location } })

/** What a browser shows of a redirect that it does not follow. */
const opaque = () => ({ type: "opaqueredirect", status: 0, ok: false, headers: new Headers(), text: async () => "" })

const REFUSALS = {
  "a redirect to a login page": () => redirect(302, "/accounts/login/?next=/telltale/ticket/"),
  "a redirect to another origin": () => redirect(307, "https://sso.example/authorize"),
  "a redirect, as a browser shows it": opaque,
  "a login page in place of the answer": () => html(200),
  "401 from a proxy": () => html(401, { "WWW-Authenticate": "Basic" }),
  "403 as a page": () => html(403),
  "404 as a page": () => html(404),
}
const OUTAGES = {
  "502 as a page": () => html(502),
  "503 as a page": () => html(503),
  "500 as JSON": () => Response.json({ error: "…" }, { status: 500 }),
  "408, a time-out": () => html(408),
  "429, too many requests": () => html(429),
  "400, a request that could not be understood": () => html(400),
  "413, a request that was too large": () => html(413),
}

const page = {
  urls: { ticket: "/telltale/ticket/", take: "/telltale/notices/00000000-0000-0000-0000-000000000000/take/" },
  csrf: { token: "c", cookie: null },
}
const live = { ticket: "T", page }
const quickEnv = fetch => ({ fetch, setTimeout: (callback, ms) => setTimeout(callback, ms / 1000), clearTimeout })

for (const [name, answer] of Object.entries(REFUSALS)) {
  test(`${name} is a refusal`, () => assert.equal(isRefusal(answer()), true))

  test(`a ticket is refused for good by ${name}`, async () => {
    await assert.rejects(fetchTicket(page, ["user:1"], { fetch: async () => answer() }), TicketRefused)
  })

  test(`a notice keeps its place at ${name}`, async () => {
    await assert.rejects(takeNotice(live, "n1", "A", { fetch: async () => answer() }), /Undecided/)
  })

  test(`an action says that the page must be loaded again after ${name}`, async t => {
    t.mock.method(globalThis, "fetch", async () => answer())
    await assert.rejects(submitAction({ action: "/cancel/" }, "c"), ActionRefused)
  })

  test(`the last transport reports ${name} as a refusal`, async () => {
    const recorder = new Recorder()
    polling(recorder.options, quickEnv(async () => answer()))
    await until(() => recorder.ends > 0)
    assert.deepEqual([recorder.messages, recorder.ends], [[{ type: "bye", again: AGAIN.NEVER }], 1])
  })

  test(`another transport leaves it to the last one what ${name} means`, async () => {
    const recorder = new Recorder()
    sse(recorder.options, quickEnv(async () => answer()))
    await until(() => recorder.ends > 0)
    assert.deepEqual([recorder.messages, recorder.ends], [[], 1])
  })
}

for (const [name, answer] of Object.entries(OUTAGES)) {
  test(`${name} is an outage`, async t => {
    assert.equal(isRefusal(answer()), false)
    const isOutage = error => !(error instanceof TicketRefused)
    await assert.rejects(fetchTicket(page, ["user:1"], { fetch: async () => answer() }), isOutage)
    await assert.rejects(takeNotice(live, "n1", "A", { fetch: async () => answer() }), /Undecided/)
    const recorder = new Recorder()
    polling(recorder.options, quickEnv(async () => answer()))
    await until(() => recorder.ends > 0)
    assert.deepEqual([recorder.messages, recorder.ends], [[], 1])
    t.mock.method(globalThis, "fetch", async () => answer())
    await assert.rejects(submitAction({ action: "/cancel/" }, "c"), ActionFailed)
  })
}

test("a redirect is not followed by the real fetch", async t => {
  const paths = []
  const server = createServer((request, response) => {
    paths.push(request.url)
    response.writeHead(302, { Location: "/login/" }).end()
  })
  await new Promise(resolve => server.listen(0, "127.0.0.1", resolve))
  t.after(() => server.close())
  const site = `http://127.0.0.1:${server.address().port}`
  const there = { ...page, urls: { ...page.urls, ticket: `${site}/ticket/` } }
  await assert.rejects(fetchTicket(there, [], { fetch }), TicketRefused)
  assert.deepEqual(paths, ["/ticket/"])
})

test("a page whose ticket a login wall refuses stops and says so, and one in an outage goes on", async () => {
  const stopped = await SimulatedPage.following()
  stopped.answerTicketRequest = () => ({ status: 302, body: {} })
  stopped.expireTicket()
  await stopped.pass(600)
  assert.deepEqual([stopped.live.state, stopped.ticketRequests.length], ["signed out", 1])
  const waiting = await SimulatedPage.following()
  waiting.answerTicketRequest = () => ({ status: 502, body: {} })
  waiting.expireTicket()
  await waiting.pass(600)
  assert.equal(waiting.live.state, "reconnecting")
  assert.ok(waiting.ticketRequests.length > 5)
})

test("a page whose polls a wall refuses asks for one new ticket, and then stops", async () => {
  const walled = await SimulatedPage.following({ transports: ["last"] })
  for (let i = 0; i < 2; i++) {
    walled.connection.bye(undefined, AGAIN.NEVER)
    await walled.pass(1)
    await settle()
  }
  await walled.pass(600)
  assert.deepEqual([walled.live.state, walled.connections.length, walled.ticketRequests.length], ["signed out", 2, 1])
})
