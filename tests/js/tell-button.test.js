/** The button "Tell me when it's done" loads the module of notifications only where the visitor may need it. */
import assert from "node:assert/strict"
import test from "node:test"

import { pageNotifications } from "telltale/notifications/page-notifications.js"
import { usePage } from "telltale/page.js"

const MODULE = new URL("../../src/telltale/static/telltale/elements/tell-button.js", import.meta.url)
const page = { topics: ["user:1"], texts: { messages: { tell_me: "Tell me when it's done" } } }
const live = { page, states: () => {} }
const now = 1_000

Object.assign(globalThis, {
  isSecureContext: true,
  navigator: { userAgent: "" },
  document: { querySelectorAll: () => [] },
  addEventListener: () => {},
  [Symbol.for("telltale.live")]: live,
})
usePage(page)
pageNotifications()

/** A bar on a page of its own, in a browser with this permission. */
async function bar(permission, { notify = null, mine = true } = {}) {
  globalThis.Notification = { permission }
  const { updateTellButton, watchTellButton } = await import(`${MODULE}?${crypto.randomUUID()}`)
  const element = { mine, getAttribute: () => notify, addEventListener: () => {} }
  const button = { textContent: "", hasAttribute: () => false, getAttribute: () => null, setAttribute: () => {} }
  const found = { changes: 0, controller: new AbortController() }
  const snapshot = (created_at, more) => ({ created_at, remaining_s: null, ended: false, ...more })
  found.isOffered = (created_at, more) => updateTellButton(button, element, snapshot(created_at, more), now)
  const { signal } = found.controller
  watchTellButton(element, live, { signal, onChange: () => (found.changes += 1), onError: assert.fail })
  return found
}

/** The module is loaded already, so it arrives within a few turns of the event loop. */
async function arrived() {
  for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve))
}

test("while the visitor has not decided, the module is loaded when a task takes some seconds", async () => {
  const shown = await bar("default")
  assert.equal(shown.isOffered(now - 1), false)
  await arrived()
  assert.equal(shown.changes, 0)
  assert.equal(shown.isOffered(now - 6), false)
  await arrived()
  assert.equal(shown.changes, 1)
  assert.equal(shown.isOffered(now - 6), true)
  assert.equal(shown.isOffered(now - 1), false)
  assert.equal(shown.isOffered(now - 1, { remaining_s: 60 }), true)
  assert.equal(shown.isOffered(now - 6, { ended: true }), false)
})

test("a bar that asks for the button gets it for every task, and one that wants none, or shows another's task, never", async () => {
  const asking = await bar("default", { notify: "always" })
  asking.isOffered(now)
  await arrived()
  assert.equal(asking.isOffered(now), true)
  for (const options of [{ notify: "never" }, { mine: false }]) {
    const shown = await bar("default", options)
    assert.equal(shown.isOffered(now - 60), false)
    await arrived()
    assert.deepEqual([shown.changes, shown.isOffered(now - 60)], [0, false])
  }
})

test("a visitor who has permitted notifications gets the module at once, because they may be on", async () => {
  const shown = await bar("granted")
  await arrived()
  assert.equal(shown.changes, 1)
})

test("a visitor who has blocked notifications, and a page that can't have any, don't load the module", async () => {
  const blocked = await bar("denied", { notify: "always" })
  assert.equal(blocked.isOffered(now), false)
  globalThis.isSecureContext = false
  const insecure = await bar("default", { notify: "always" })
  assert.equal(insecure.isOffered(now), false)
  globalThis.isSecureContext = true
  await arrived()
  assert.deepEqual([blocked.changes, insecure.changes], [0, 0])
})

test("an element that has left the page is not called when the module arrives", async () => {
  const shown = await bar("default", { notify: "always" })
  shown.isOffered(now)
  shown.controller.abort()
  await arrived()
  assert.equal(shown.changes, 0)
})
