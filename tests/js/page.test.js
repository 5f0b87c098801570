/** What the page brings, and addresses that may be followed. */
import assert from "node:assert/strict"
import { readdirSync, readFileSync } from "node:fs"
import test from "node:test"

import { csrfToken, readPage, safeUrl, urlFor } from "telltale/page.js"

const page = { csrf: { token: "from the page", cookie: "csrftoken" } }

test("the cookie's token is newer than the page's, where scripts may read it", () => {
  assert.equal(csrfToken(page, "a=1; csrftoken=fresh; b=2"), "fresh")
  assert.equal(csrfToken(page, "xcsrftoken=no"), "from the page")
  assert.equal(csrfToken({ csrf: { token: "t", cookie: null } }, "csrftoken=x"), "t")
})

test("only addresses of web pages are links", () => {
  const base = "https://site.example/tasks/"
  for (const url of ["/imports/1/", "https://other.example/", "?page=2", "done.html"]) assert.equal(safeUrl(url, base), url)
  for (const url of ["javascript:alert(1)", " JavaScript:alert(1)", "data:text/html,x", "http://[", "", null]) {
    assert.equal(safeUrl(url, base), null)
  }
})

test("an id takes its place in an address, and nothing more", () => {
  assert.equal(urlFor("/t/00000000-0000-0000-0000-000000000000/take/", "a/../b"), "/t/a%2F..%2Fb/take/")
})

test("a page without the tag is told which tag", () => {
  assert.throws(() => readPage({ getElementById: () => null }), /\{% telltale %\}/)
})

const FOLDER = new URL("../../src/telltale/static/telltale/", import.meta.url)
const sources = readdirSync(FOLDER, { recursive: true }).filter(name => name.endsWith(".js"))

for (const name of sources) {
  const source = readFileSync(new URL(name, FOLDER), "utf-8")

  test(`${name} makes no markup or code from text`, () => {
    assert.doesNotMatch(source, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|\.cssText/)
  })

  test(`${name} imports by names that the import map has`, () => {
    for (const [, from] of source.matchAll(/(?:from|import) "([^"]+)"/g)) {
      assert.ok(from === "telltale" || sources.includes(from.replace("telltale/", "")), from)
    }
  })

  test(`${name} says what it is`, () => assert.match(source, /^\/\*\*/))
}
