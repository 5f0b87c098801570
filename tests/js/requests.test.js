/** The page's requests to the server's views. */
import assert from "node:assert/strict"
import test from "node:test"

import { ActionFailed, TicketRefused, confirmNotice, fetchTicket, submitAction, takeNotice } from "telltale/requests.js"

const page = {
  urls: {
    ticket: "/telltale/ticket/",
    take: "/telltale/notices/00000000-0000-0000-0000-000000000000/take/",
  },
  csrf: { token: "c", cookie: null },
}
const liveWith = ticket => ({ ticket, page })
const answering = (status, content = {}) => ({ fetch: async () => Response.json(content, { status }) })

test("a granted notice must be confirmed within some time, and one that another page holds may be free later", async () => {
  const take = content => takeNotice(liveWith("T"), "n1", "A", answering(200, content))
  assert.deepEqual(await take({ granted: true, confirm_within_s: 10 }), { granted: true, confirmWithinMs: 10_000 })
  assert.deepEqual(await take({ granted: false, retry_after_s: 4.5 }), { granted: false, retryAfterMs: 4_500 })
  assert.deepEqual(await take({ granted: false }), { granted: false, retryAfterMs: null })
})

test("the ticket goes in a header, never in the address, and the page's name in the body", async () => {
  const requests = []
  const server = { fetch: async (url, init) => (requests.push({ url, ...init }), Response.json({ granted: true })) }
  await takeNotice(liveWith("T1CKET"), "n1", "A", server)
  await confirmNotice(liveWith("T1CKET"), "n1", "A", server)
  for (const { url, method, headers } of requests) {
    assert.deepEqual([url, method, headers.Authorization], ["/telltale/notices/n1/take/", "POST", "Bearer T1CKET"])
  }
  assert.deepEqual(requests.map(({ body }) => JSON.parse(body)), [{ holder: "A" }, { holder: "A", shown: true }])
})

test("a confirmation is sent also if its page is closed meanwhile", async () => {
  let init
  await confirmNotice(liveWith("T"), "n1", "A", { fetch: async (_url, given) => ((init = given), Response.json({})) })
  assert.equal(init.keepalive, true)
})

for (const status of [401, 429, 500, 502, 503]) {
  test(`an answer of ${status} decides nothing about a notice, so that the request can be repeated`, async () => {
    await assert.rejects(takeNotice(liveWith("T"), "n1", "A", answering(status)), /Undecided/)
    await assert.rejects(confirmNotice(liveWith("T"), "n1", "A", answering(status)), /Undecided/)
  })
}

test("a notice that does not exist, or is another visitor's, is not shown", async () => {
  assert.deepEqual(await takeNotice(liveWith("T"), "n1", "A", answering(404)), { granted: false, retryAfterMs: null })
  await confirmNotice(liveWith("T"), "n1", "A", answering(404))
})

test("a ticket is fetched with the CSRF token and the topics", async () => {
  let request = null
  const ticket = { ticket: "T", topics: ["task:a"], expires_at: 5 }
  const fetch = async (url, init) => {
    request = { url, ...init }
    return Response.json(ticket)
  }
  assert.deepEqual(await fetchTicket(page, new Set(["task:a", "task:b"]), { fetch }), ticket)
  assert.deepEqual([request.url, request.headers["X-CSRFToken"]], ["/telltale/ticket/", "c"])
  assert.deepEqual(JSON.parse(request.body), { topics: ["task:a", "task:b"] })
})

test("a ticket is refused by an answer of 403 or 404, and by one without topics", async () => {
  for (const status of [403, 404]) await assert.rejects(fetchTicket(page, [], answering(status)), TicketRefused)
  await assert.rejects(fetchTicket(page, [], answering(200, { ticket: "T", topics: [] })), TicketRefused)
})

test("an overloaded or failing server does not refuse a ticket for good", async () => {
  for (const status of [429, 500, 503]) {
    await assert.rejects(fetchTicket(page, [], answering(status)), error => !(error instanceof TicketRefused))
  }
})

test("an action answers with the snapshot, or fails with the server's reason", async t => {
  const form = { action: "/telltale/tasks/a/cancel/" }
  const answers = [
    Response.json({ id: "a", cancel_requested: true }),
    Response.json({ error: "Too late." }, { status: 409 }),
    new Response("<h1>Bad gateway</h1>", { status: 502, headers: { "Content-Type": "text/html" } }),
  ]
  t.mock.method(globalThis, "fetch", async () => answers.shift())
  assert.deepEqual(await submitAction(form, "c"), { id: "a", cancel_requested: true })
  await assert.rejects(submitAction(form, "c"), error => error instanceof ActionFailed && error.message === "Too late.")
  await assert.rejects(submitAction(form, "c"), error => error instanceof ActionFailed && error.message === "")
})
