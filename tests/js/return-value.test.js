/** What a task returned, fetched after its end. */
import assert from "node:assert/strict"
import test from "node:test"

import { withReturnValue } from "telltale/return-value.js"

const page = { urls: { task: "/telltale/tasks/00000000-0000-0000-0000-000000000000/" } }
const snapshot = { id: "t1", attempt: 1, ended: true, has_return_value: true }
const answering = (content, init) => ({ fetch: async () => Response.json(content, init) })

test("the owner gets what the task returned, from the task's own address", async () => {
  const urls = []
  const fetch = async url => {
    urls.push(url)
    return Response.json({ attempt: 1, return_value: { rows: 3 } })
  }
  assert.deepEqual(await withReturnValue(page, snapshot, { fetch }), { ...snapshot, return_value: { rows: 3 } })
  assert.deepEqual(urls, ["/telltale/tasks/t1/"])
})

test("a task may return null", async () => {
  assert.equal((await withReturnValue(page, snapshot, answering({ attempt: 1, return_value: null }))).return_value, null)
})

for (const [name, env] of [
  ["a visitor who may not read it", answering({ attempt: 1 })],
  ["a visitor who may not see the task any more", answering({ error: "…" }, { status: 404 })],
  ["the value of a later attempt", answering({ attempt: 2, return_value: 1 })],
  ["a login page", { fetch: async () => new Response("<p>", { headers: { "Content-Type": "text/html" } }) }],
  ["a server that can't be reached", { fetch: async () => Promise.reject(new TypeError("network")) }],
]) {
  test(`the end is told without a value: ${name}`, async () => {
    assert.deepEqual(await withReturnValue(page, snapshot, env), snapshot)
  })
}
