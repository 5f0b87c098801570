/** The page's requests to the server's views. */
import assert from "node:assert/strict"
import test from "node:test"

import { ActionFailed, TicketRefused, fetchTicket, submitAction, takeNotice } from "telltale/requests.js"

const page = {
  urls: {
    ticket: "/telltale/ticket/",
    take: "/telltale/notices/00000000-0000-0000-0000-000000000000/take/",
  },
  csrf: { token: "c", cookie: null },
}
const liveWith = ticket => ({ ticket, page })
const answering = (status, content = {}) => ({ fetch: async () => Response.json(content, { status }) })

/** Decides as the real server does: the first request may show the notice. */
const noticeServer = () => {
  const taken = new Set()
  const requests = []
  return {
    requests,
    async fetch(url, { method, headers }) {
      requests.push({ url, method, ...headers })
      const granted = !taken.has(url)
      taken.add(url)
      return Response.json({ granted })
    },
  }
}

test("of two tabs that take the same notice, one may show it", async () => {
  const server = noticeServer()
  const granted = await Promise.all(["first tab", "second tab"].map(tab => takeNotice(liveWith(tab), "n1", server)))
  assert.deepEqual(granted, [true, false])
})

test("the ticket goes in a header, never in the address", async () => {
  const server = noticeServer()
  await takeNotice(liveWith("T1CKET"), "n1", server)
  const [{ url, method, Authorization }] = server.requests
  assert.deepEqual([url, method, Authorization], ["/telltale/notices/n1/take/", "POST", "Bearer T1CKET"])
})

for (const status of [401, 429, 500, 503]) {
  test(`an answer of ${status} decides nothing about a notice, so that the request can be repeated`, async () => {
    await assert.rejects(takeNotice(liveWith("T"), "n1", answering(status)), /Undecided/)
  })
}

test("a notice that does not exist, or is another visitor's, is not shown", async () => {
  assert.equal(await takeNotice(liveWith("T"), "n1", answering(404)), false)
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
