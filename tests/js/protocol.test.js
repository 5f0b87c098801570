/** The protocol's constants as the server has them, and what the page does for each reason for closing. */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import test from "node:test"

import { AGAIN, CLOSE, VERSION, decode } from "telltale/live/protocol.js"

import { SimulatedPage, settle } from "./simulated-page.js"

const read = name => readFileSync(new URL(`../../src/telltale/core/${name}`, import.meta.url), "utf-8")
const REASONS = read("reasons.py")
const PROTOCOL = read("protocol.py")

const again = Object.fromEntries(
  [...REASONS.matchAll(/^ {4}([A-Z_]+) = "([^"]+)"/gm)].map(([, name, text]) => [name, text]),
)
const reasons = [
  ...REASONS.matchAll(/^([A-Z_]+) = Reason\(\s*code=(\d+), word="([^"]+)", again=Again\.(\w+)/gm),
].map(([, name, code, word, when]) => ({ name, code: Number(code), word, again: again[when] }))
const temporary = reasons.filter(reason => reason.again !== AGAIN.NEVER)

test("the version is the server's", () => {
  const [, version] = /^VERSION: Final = (\d+)$/m.exec(PROTOCOL)
  assert.equal(VERSION, Number(version))
})

test("the codes for closing are the server's, and so is when to reconnect", () => {
  assert.equal(reasons.length, REASONS.match(/\bcode=/g).length)
  assert.deepEqual({ ...CLOSE }, Object.fromEntries(reasons.map(({ name, code }) => [name, code])))
  assert.deepEqual({ ...AGAIN }, again)
})

test("a text that is not a JSON object is not a message", () => {
  for (const text of ["", "[]", "null", "7", "{", undefined]) assert.equal(decode(text), null)
  assert.deepEqual(decode('{"type":"ping"}'), { type: "ping" })
})

/** A page that was live until the server closed its connection for this reason. */
async function closedPage(reason) {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.connection.bye(reason.code, reason.again)
  await settle()
  return page
}

for (const reason of reasons) {
  test(`closed for "${reason.word}", a page reconnects ${reason.again}`, async () => {
    const page = await closedPage(reason)
    assert.equal(page.live.state, "reconnecting")
    if (reason.again === AGAIN.AT_ONCE) {
      await page.pass(0.01)
      assert.deepEqual([page.connections.length, page.connection.name], [2, "best"])
    }
    if (reason.again === AGAIN.LATER) {
      await page.pass(0.01)
      assert.equal(page.connections.length, 1)
      await page.pass(1)
      assert.deepEqual([page.connections.length, page.connection.name], [2, "best"])
    }
    if (reason.again === AGAIN.NEVER) {
      await page.pass(1)
      assert.deepEqual([page.ticketRequests.length, page.connection.ticket], [1, "ticket 1"], "a new ticket is tried once")
      page.connection.bye(reason.code, reason.again)
      await page.pass(3_600)
      assert.deepEqual([page.live.state, page.ticketRequests.length, page.connections.length], ["signed out", 1, 2])
    }
  })
}

test("of the temporary reasons, only an expired ticket makes the page fetch a new one", async () => {
  for (const reason of temporary) {
    const page = await closedPage(reason)
    await page.pass(1)
    assert.equal(page.ticketRequests.length, reason.code === CLOSE.EXPIRED ? 1 : 0, reason.word)
  }
})

test("S48: a server that closes each new connection at once gets fewer than 15 connections a minute", async () => {
  for (const reason of temporary) {
    const page = await closedPage(reason)
    for (let i = 0; i < 600; i++) {
      await page.pass(0.1)
      if (!page.connection.isOpen) continue
      page.connection.hello()
      page.connection.bye(reason.code, reason.again)
    }
    assert.ok(page.connections.length < 15, `${reason.word}: ${page.connections.length} connections in a minute`)
  }
})
