/** Notices: among all pages of a person, one is granted each. */
import assert from "node:assert/strict"
import test from "node:test"

import { takeNotice } from "telltale/requests.js"
import { Newest } from "telltale/live/snapshots.js"

const pageOf = ticket => ({
  ticket,
  page: {
    urls: { take: "/telltale/notices/00000000-0000-0000-0000-000000000000/take/" },
    csrf: { token: "c", cookie: null },
  },
})

/** As the server decides it: who comes first. */
const server = () => {
  const shown = new Map()
  const requests = []
  return {
    requests,
    async fetch(url, { method, headers }) {
      requests.push({ url, method, ...headers })
      const granted = !shown.has(url)
      shown.set(url, true)
      return { ok: true, status: 200, json: async () => ({ granted }) }
    },
  }
}

test("of two tabs that hear the same notice one is granted it", async () => {
  const env = server()
  const granted = await Promise.all(["first tab", "second tab"].map(tab => takeNotice(pageOf(tab), "n1", env)))
  assert.deepEqual(granted, [true, false])
})

test("a tab that hears a notice twice takes it once", () => {
  const newest = new Newest()
  const heard = [newest.fold({ notices: [{ id: "n1" }] }), newest.fold({ notices: [{ id: "n1" }, { id: "n2" }] })]
  assert.deepEqual(heard.map(({ notices }) => notices.map(({ id }) => id)), [["n1"], ["n2"]])
})

test("the ticket goes in a header, never in the address", async () => {
  const env = server()
  await takeNotice(pageOf("T1CKET"), "n1", env)
  const [{ url, method, Authorization }] = env.requests
  assert.deepEqual([url, method, Authorization], ["/telltale/notices/n1/take/", "POST", "Bearer T1CKET"])
})

for (const status of [401, 429, 500, 503]) {
  test(`an answer of ${status} decides nothing, so it can be asked again`, async () => {
    await assert.rejects(takeNotice(pageOf("T"), "n1", { fetch: async () => ({ ok: false, status }) }), /Undecided/)
  })
}

test("a notice that is not there, or not theirs, is not shown", async () => {
  assert.equal(await takeNotice(pageOf("T"), "n1", { fetch: async () => ({ ok: false, status: 404 }) }), false)
})
