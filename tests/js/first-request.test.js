/** The page's first request, which is written into the page, and what the page makes of its answer. */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import test from "node:test"
import { runInNewContext } from "node:vm"

import { firstAnswer } from "telltale/live/first-answer.js"

import { SimulatedPage, settle } from "./simulated-page.js"

const SOURCE = readFileSync(new URL("../../src/telltale/pages/first_request.js", import.meta.url), "utf-8")
const DATA = JSON.stringify({ ticket: "T", urls: { live: "/prefix/telltale/live/" } })
const poll = (now, tasks) => ({ type: "poll", v: 1, now, tasks, notices: [], events: [], poll_after_s: 0 })

/** A page in which the script runs. `hasTask`: whether the page shows an open task, so far. */
class ArrivingPage {
  requests = []
  #listeners = []

  constructor({ hasTask, readyState = "loading", fetch = () => Promise.resolve(new Response("answer")) }) {
    this.hasTask = hasTask
    this.scope = {
      AbortSignal,
      document: {
        readyState,
        querySelector: () => (this.hasTask ? {} : null),
        getElementById: id => (id === "telltale-page" ? { textContent: DATA } : null),
        addEventListener: (_name, listener) => this.#listeners.push(listener),
      },
      fetch: (url, init) => (this.requests.push({ url, ...init }), fetch()),
    }
    runInNewContext(SOURCE, this.scope)
  }

  parse() {
    for (const listener of this.#listeners.splice(0)) listener()
  }
}

test("a page that shows an open task asks for its state with the page's ticket, which is in no address", () => {
  const { requests } = new ArrivingPage({ hasTask: true })
  assert.equal(requests.length, 1)
  const [{ url, method, headers, body, credentials, cache, signal }] = requests
  assert.deepEqual([url, method, credentials, cache], ["/prefix/telltale/live/", "POST", "omit", "no-store"])
  assert.equal(headers.Authorization, "Bearer T")
  assert.deepEqual(JSON.parse(body), { wait_s: 0 })
  assert.ok(signal instanceof AbortSignal, "the request has a time limit")
})

test("a task further down in the page is found when the page has arrived, and asked about once", () => {
  const page = new ArrivingPage({ hasTask: false })
  assert.equal(page.requests.length, 0)
  page.hasTask = true
  page.parse()
  page.parse()
  assert.equal(page.requests.length, 1)
})

test("a page without an open task asks nothing", () => {
  const page = new ArrivingPage({ hasTask: false })
  page.parse()
  assert.equal(page.requests.length, 0)
  assert.equal("telltaleFirst" in page.scope, false)
})

test("a first request that fails or is refused gives no answer, and no error", async () => {
  const failures = [
    () => Promise.reject(new TypeError("network")),
    () => Promise.resolve(new Response('{"type": "bye"}', { status: 401 })),
    () => Promise.resolve(new Response("<html>", { status: 200 })),
  ]
  for (const fetch of failures) {
    const { scope } = new ArrivingPage({ hasTask: true, fetch })
    assert.equal(await firstAnswer("T", scope), null)
  }
})

test("the answer is taken in once, and only by the visitor who asked", async () => {
  const message = poll(1_000, [])
  const request = { ticket: "T", answer: Promise.resolve(JSON.stringify(message)) }
  const scope = { telltaleFirst: request }
  assert.deepEqual(await firstAnswer("T", scope), message)
  assert.equal(await firstAnswer("T", scope), null)
  assert.equal(await firstAnswer("another", { telltaleFirst: request }), null)
})

test("the first answer shows the task before a connection is established, and is no connection", async () => {
  const page = new SimulatedPage()
  const states = []
  page.live.task("a", ({ seq }) => states.push([seq, page.live.state]), { mine: true })
  await settle()
  page.live.receiveFirst(poll(page.now + 5, [{ id: "a", attempt: 1, ended: false, seq: 7, state: "running" }]))
  assert.deepEqual(states, [[7, "connecting"]])
  assert.equal(page.live.now, page.now + 5)
  page.connection.hello()
  assert.equal(page.live.state, "live")
})

test("a first answer that comes after the connection changes nothing that is newer", async () => {
  const page = await SimulatedPage.following()
  const received = []
  page.live.task("a", ({ seq }) => received.push(seq), { mine: true })
  page.connection.hello()
  page.connection.receive({ type: "update", tasks: [{ id: "a", attempt: 1, ended: false, seq: 9, state: "running" }] })
  page.live.receiveFirst(poll(page.now, [{ id: "a", attempt: 1, ended: false, seq: 7, state: "running" }]))
  assert.deepEqual(received, [9])
  assert.equal(page.live.state, "live")
})

test("what the first answer brought is not requested again by the connection that reconnects", async () => {
  const page = await SimulatedPage.following()
  page.live.receiveFirst(poll(page.now, [{ id: "a", attempt: 1, ended: false, seq: 7, state: "running" }]))
  page.connection.hello()
  page.connection.end()
  await page.pass(5)
  assert.deepEqual(page.connection.have, { a: [1, false, 7] })
})
