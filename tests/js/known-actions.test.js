/** Which actions the visitor may take: the server is asked about each task once, and again after a failure. */
import assert from "node:assert/strict"
import test from "node:test"

import { KnownActions } from "telltale/elements/known-actions.js"

const page = { urls: { tasks: "/telltale/tasks/" } }

/** A server whose answers are given by hand. */
class Server {
  requests = []
  changes = 0
  time = 0
  actions = new KnownActions(page, () => this.changes++, { fetch: (url, init) => this.fetch(url, init), now: () => this.time })

  fetch(url, init) {
    return new Promise((resolve, reject) => this.requests.push({ url, init, resolve, reject }))
  }

  async answer(response) {
    this.requests.at(-1).resolve(response)
    await new Promise(resolve => setImmediate(resolve))
  }
}

test("many tasks are asked about at once, each once, and those left out have no actions", async () => {
  const server = new Server()
  server.actions.ask(["a", "b c"])
  server.actions.ask(["a", "b c", "d"])
  assert.deepEqual(server.requests.map(({ url }) => url), ["/telltale/tasks/?id=a&id=b+c"])
  assert.equal(server.requests[0].init.headers.Accept, "application/json")
  assert.deepEqual(server.actions.of("a"), [])
  await server.answer(Response.json({ tasks: [{ id: "a", actions: ["cancel", "retry"] }] }))
  assert.deepEqual([server.actions.of("a"), server.actions.of("b c"), server.changes], [["cancel", "retry"], [], 1])
  server.actions.ask(["a", "b c", "d"])
  assert.equal(server.requests.at(-1).url, "/telltale/tasks/?id=d")
})

const FAILURES = {
  "an error": () => new Response("", { status: 500 }),
  "a login page": () => new Response("<p>", { headers: { "Content-Type": "text/html" } }),
}
for (const [what, response] of Object.entries(FAILURES)) {
  test(`after ${what}, no action is offered, and the server is asked again later`, async () => {
    const server = new Server()
    server.actions.ask(["a"])
    await server.answer(response())
    assert.deepEqual([server.actions.of("a"), server.changes], [[], 1])
    server.time = 9_999
    server.actions.ask(["a"])
    assert.equal(server.requests.length, 1)
    server.time = 10_000
    server.actions.ask(["a"])
    assert.equal(server.requests.length, 2)
  })
}
