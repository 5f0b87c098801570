/** What the page's connection is told of the page. */
import assert from "node:assert/strict"
import test from "node:test"

import { connect } from "telltale/index.js"
import { Live } from "telltale/live/live.js"
import { usePage } from "telltale/page.js"

test("a page that is opened, comes back or runs again in the background is hidden for its connection", () => {
  const told = []
  for (const name of ["hide", "resume", "suspend", "goOffline"]) Live.prototype[name] = () => told.push(name)
  const page = new EventTarget()
  const document = Object.assign(new EventTarget(), { hidden: true, querySelectorAll: () => [] })
  const location = { href: "https://site.example/" }
  Object.assign(globalThis, { document, location, addEventListener: page.addEventListener.bind(page) })
  const urls = { live: "/telltale/live/" }
  usePage({ ticket: "t", topics: [], expires_at: 300, now: 0, limits: {}, urls, csrf: {} })
  /** What the connection is told at an event. */
  const at = (target, type, isHidden, more = {}) => {
    told.length = 0
    document.hidden = isHidden
    target.dispatchEvent(Object.assign(new Event(type), more))
    return told
  }

  connect()
  assert.deepEqual(told, ["hide"])
  assert.deepEqual(at(page, "online", true), ["resume", "hide"])
  assert.deepEqual(at(document, "resume", true), ["resume", "hide"])
  for (const [target, type, more] of [[page, "online"], [document, "resume"], [page, "pageshow", { persisted: true }]]) {
    assert.deepEqual(at(target, type, false, more), ["resume"], type)
  }
  assert.deepEqual(at(document, "visibilitychange", true), ["hide"])
  assert.deepEqual(at(document, "visibilitychange", false), ["resume"])
})
