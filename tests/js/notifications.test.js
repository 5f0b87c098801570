/** Browser notifications are asked for by a click, by one visitor, and end with that visitor. */
import assert from "node:assert/strict"
import test from "node:test"

import { Notifications } from "telltale/notifications/notifications.js"

class Storage {
  items = {}
  getItem = key => this.items[key] ?? null
  setItem = (key, value) => (this.items[key] = value)
  removeItem = key => delete this.items[key]
}

class Browser {
  permissionNow = "default"
  answer = "granted"
  visitorNow = "user:7"
  storage = new Storage()
  calls = []
  now = 1_764_000_000_000
  push = null

  /** A page of it. */
  open() {
    return new Notifications({
      permission: () => this.permissionNow,
      requestPermission: async () => {
        this.calls.push("permission")
        return (this.permissionNow = this.answer)
      },
      visitor: () => this.visitorNow,
      storage: this.storage,
      wallNow: () => this.now,
      push: () => this.push,
    })
  }

  withPush({ known = "current", isRefused = false } = {}) {
    const call = async name => {
      this.calls.push(name)
      if (isRefused) throw new Error("refused")
    }
    this.push = { known, subscribe: () => call("subscribe"), unsubscribe: () => call("unsubscribe") }
    return this
  }
}

/** A browser in which the visitor has turned them on. */
async function browserThatNotifies(browser = new Browser()) {
  assert.equal(await browser.open().toggle(), "notifications_on")
  browser.calls = []
  return browser
}

test("permission is asked for by a click only, and then all pages of this browser notify", async () => {
  const browser = new Browser()
  const [page, other] = [browser.open(), browser.open()]
  await page.resume()
  assert.deepEqual([page.isOffered, page.isOn, browser.calls], [true, false, []])
  assert.equal(await page.toggle(), "notifications_on")
  assert.deepEqual([page.isOn, other.isOn, browser.open().isOn], [true, true, true])
  assert.deepEqual(browser.calls, ["permission"])
})

test("a second click turns them off", async () => {
  const browser = await browserThatNotifies()
  assert.equal(await browser.open().toggle(), "notifications_off")
  assert.equal(browser.open().isOn, false)
})

test("a visitor who forbids them is told so, and the next page does not offer them", async () => {
  const browser = Object.assign(new Browser(), { answer: "denied" })
  const page = browser.open()
  assert.equal(await page.toggle(), "notifications_blocked")
  assert.deepEqual([page.isOffered, page.isOn], [true, false])
  assert.equal(browser.open().isOffered, false)
})

test("a visitor who closes the question has them off, and may ask again", async () => {
  const browser = Object.assign(new Browser(), { answer: "default" })
  assert.equal(await browser.open().toggle(), "notifications_off")
  assert.deepEqual([browser.open().isOffered, browser.open().isOn], [true, false])
})

for (const [why, more] of [["a browser without notifications", { permissionNow: null }], ["a page of no visitor", { visitorNow: null }]]) {
  test(`${why} offers none`, () => {
    const page = Object.assign(new Browser(), more).open()
    assert.deepEqual([page.isOffered, page.isOn], [false, false])
  })
}

test("another visitor of this browser is not notified, and ends what the first one wished", async () => {
  const browser = await browserThatNotifies(new Browser().withPush())
  browser.visitorNow = "user:8"
  const page = browser.open()
  assert.equal(page.isOn, false)
  await page.resume()
  assert.deepEqual(browser.calls, ["unsubscribe"])
  browser.visitorNow = "user:7"
  assert.equal(browser.open().isOn, false)
})

test("a permission that was withdrawn in the browser turns them off", async () => {
  const browser = await browserThatNotifies()
  browser.permissionNow = "denied"
  assert.equal(browser.open().isOn, false)
})

test("with web push the click subscribes the browser, and the next one unsubscribes it", async () => {
  const browser = new Browser().withPush()
  await browser.open().toggle()
  await browser.open().toggle()
  assert.deepEqual(browser.calls, ["permission", "subscribe", "unsubscribe"])
})

test("if the push service refuses, they are off and the visitor is told", async () => {
  const browser = new Browser().withPush({ isRefused: true })
  assert.equal(await browser.open().toggle(), "notifications_failed")
  assert.equal(browser.open().isOn, false)
})

test("a new session of the same visitor does not notify until it is asked to", async () => {
  const browser = await browserThatNotifies(new Browser().withPush())
  const page = browser.withPush({ known: "none" }).open()
  await page.resume()
  assert.deepEqual([page.isOn, browser.calls], [false, ["unsubscribe"]])
})

test("a page renews its subscription after a new password and once a day, and else sends nothing", async () => {
  const browser = await browserThatNotifies(new Browser().withPush())
  const openPages = async () => {
    browser.calls = []
    for (let i = 0; i < 3; i++) await browser.open().resume()
    return browser.calls
  }
  assert.deepEqual(await openPages(), [])
  browser.now += 86_400_001
  assert.deepEqual(await openPages(), ["subscribe"])
  browser.now -= 2 * 86_400_000 // The machine's clock was put back.
  assert.deepEqual(await openPages(), ["subscribe"])
  browser.withPush({ known: "old" })
  assert.deepEqual(await openPages(), ["subscribe", "subscribe", "subscribe"])
})

test("two clicks at once are one", async () => {
  const browser = new Browser()
  const page = browser.open()
  assert.deepEqual(await Promise.all([page.toggle(), page.toggle()]), ["notifications_on", null])
})

test("a browser without storage notifies as long as the page is open", async () => {
  const broken = Object.assign(new Browser(), { storage: null })
  const forbidden = new Browser()
  forbidden.storage = { getItem: () => { throw new Error() }, setItem: () => { throw new Error() }, removeItem: () => {} }
  for (const browser of [broken, forbidden]) {
    const page = browser.open()
    await page.toggle()
    assert.deepEqual([page.isOn, browser.open().isOn], [true, false])
  }
})

test("elements hear of each change", async () => {
  const page = new Browser().open()
  const controller = new AbortController()
  let changes = 0
  page.listen(() => changes++, controller.signal)
  await page.toggle()
  assert.equal(changes, 1)
  controller.abort()
  await page.toggle()
  assert.equal(changes, 1)
})
