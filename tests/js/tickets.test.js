/** The page's ticket: its topics, its renewal and its refusal. */
import assert from "node:assert/strict"
import test from "node:test"

import { AGAIN, CLOSE } from "telltale/live/protocol.js"

import { SimulatedPage, settle } from "./simulated-page.js"

/** Let minutes pass, with the server's pings, so that the ticket is due for renewal. */
async function passWithPings(page, count) {
  for (let i = 0; i < count; i++) {
    await page.pass(14)
    page.connection.receive({ type: "ping", n: i, now: page.now })
  }
}

test("the ticket is renewed before it expires, on the open connection if its transport can", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  await passWithPings(page, 20)
  assert.deepEqual(page.ticketRequests, [["user:1"]])
  assert.deepEqual(page.connection.newTickets, ["ticket 1"])
  assert.equal(page.connections.length, 1)
})

test("a connection that can't take the new ticket is replaced by one that has it", async () => {
  const page = await SimulatedPage.following({ transports: ["middle"] })
  for (let i = 0; i < 70; i++) {
    page.connection.hello()
    await page.pass(4)
  }
  assert.deepEqual([page.connections.length, page.connection.ticket, page.openConnections.length], [2, "ticket 1", 1])
})

test("topics that are added later are requested together, with the earlier ones", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.live.task("b", () => {})
  page.live.topic("project:7", () => {})
  await page.pass(1)
  assert.deepEqual(page.ticketRequests, [["user:1", "task:b", "project:7"]])
  assert.deepEqual(page.connection.newTickets, ["ticket 1"])
})

test("a visitor without topics of their own gets a connection for the first followed task", async () => {
  const page = new SimulatedPage({ topics: [] })
  page.live.task("b", () => {})
  await page.pass(1)
  assert.deepEqual([page.ticketRequests, page.connection.ticket], [[["task:b"]], "ticket 1"])
})

test("an expired ticket is replaced before the page reconnects", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.expireTicket()
  await page.pass(0.2)
  assert.deepEqual([page.ticketRequests.length, page.connection.ticket], [1, "ticket 1"])
})

test("a page whose ticket expired while it was away fetches a new one before it connects", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.live.suspend()
  page.sleep(4_000)
  page.live.resume()
  await settle()
  assert.equal(page.connection.ticket, "ticket 1")
})

test("a refused page tries a new ticket once, and then stops", async () => {
  const page = await SimulatedPage.following()
  page.connection.bye(CLOSE.NO_TICKET, AGAIN.NEVER)
  await page.pass(1)
  assert.equal(page.connection.ticket, "ticket 1")
  page.connection.bye(CLOSE.NO_TICKET, AGAIN.NEVER)
  await page.pass(600)
  assert.deepEqual([page.live.state, page.connections.length, page.ticketRequests.length], ["signed out", 2, 1])
})

test("a visitor who has signed out in another tab gets no ticket, and the page stops", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.answerTicketRequest = () => ({ status: 404, body: {} })
  await passWithPings(page, 30)
  assert.deepEqual([page.live.state, page.ticketRequests.length, page.openConnections.length], ["signed out", 1, 0])
})

test("while the server can't be reached, the request for a ticket is repeated", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.answerTicketRequest = () => new Error("no network")
  page.expireTicket()
  await page.pass(10)
  assert.ok(page.ticketRequests.length >= 2)
  page.answerTicketRequest = topics => ({ status: 200, body: { ticket: "good", topics, expires_at: page.now + 300 } })
  await page.pass(60)
  assert.equal(page.connection.ticket, "good")
})

test("a transport gets the channels of the present ticket", async () => {
  const page = await SimulatedPage.following({ channels: { "private-user-1": "user:1" } })
  page.connection.hello()
  assert.deepEqual(page.connection.channels(), { "private-user-1": "user:1" })
  const channels = { "private-user-1": "user:1", "private-project-7": "project:7" }
  page.answerTicketRequest = topics => ({
    status: 200,
    body: { ticket: "T", topics, channels, expires_at: page.now + 300 },
  })
  page.live.topic("project:7", () => {})
  await page.pass(1)
  assert.deepEqual(page.connection.channels(), channels)
})

test("without a Pusher service, a ticket has no channels", async () => {
  const page = await SimulatedPage.following()
  assert.equal(page.connection.channels(), null)
})

test("a request for a ticket that hangs is given up, and the next one makes the page live again", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.answerTicketRequest = () => new Promise(() => {})
  page.expireTicket()
  await page.pass(10)
  assert.equal(page.ticketRequests.length, 1)
  page.answerTicketRequest = topics => ({ status: 200, body: { ticket: "good", topics, expires_at: page.now + 300 } })
  await page.pass(8)
  assert.deepEqual([page.ticketRequests.length, page.connection.ticket], [2, "good"])
  page.connection.hello()
  assert.equal(page.live.state, "live")
})
