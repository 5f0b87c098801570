/** The page's data, and the addresses that may become links. */
import assert from "node:assert/strict"
import test from "node:test"

import { csrfToken, readPage, safeUrl, urlFor, usePage } from "telltale/page.js"

const page = { csrf: { token: "from the page", cookie: "csrftoken" } }

test("the CSRF token comes from the cookie if scripts may read it, else from the page", () => {
  assert.equal(csrfToken(page, "a=1; csrftoken=fresh; b=2"), "fresh")
  assert.equal(csrfToken(page, "xcsrftoken=no"), "from the page")
  assert.equal(csrfToken({ csrf: { token: "t", cookie: null } }, "csrftoken=x"), "t")
})

test("only addresses of web pages become links", () => {
  const base = "https://site.example/tasks/"
  for (const url of ["/imports/1/", "https://other.example/", "?page=2", "done.html"]) assert.equal(safeUrl(url, base), url)
  for (const url of ["javascript:alert(1)", " JavaScript:alert(1)", "data:text/html,x", "http://[", "", null]) {
    assert.equal(safeUrl(url, base), null)
  }
})

test("an id replaces the placeholder in an address, and can change nothing else", () => {
  assert.equal(urlFor("/t/00000000-0000-0000-0000-000000000000/take/", "a/../b"), "/t/a%2F..%2Fb/take/")
})

test("a page's data are those of its newest block, or those that were loaded", () => {
  const without = { querySelectorAll: () => [] }
  assert.throws(() => readPage(without), /\{% telltale %\}.*loadPage/)
  usePage({ ticket: "loaded" })
  assert.equal(readPage(without).ticket, "loaded")
  const blocks = ["old", "new"].map(ticket => ({ textContent: JSON.stringify({ ticket }), remove: () => removed.push(ticket) }))
  const removed = []
  assert.equal(readPage({ querySelectorAll: () => blocks }).ticket, "new")
  assert.deepEqual(removed, ["old"])
})
