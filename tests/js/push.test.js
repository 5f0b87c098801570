/** This browser's push subscription, with a browser that the test stands for. */
import assert from "node:assert/strict"
import test from "node:test"

import { showByWorker, subscribe, unsubscribe } from "telltale/notifications/push.js"

const KEY = "BA" + "A".repeat(85)
const SCOPE = "https://shop.example/telltale/push/"
const page = {
  csrf: { token: "c", cookie: null },
  push: { key: KEY, worker: "/telltale/push/worker.js", subscribe: "/add/", unsubscribe: "/remove/", known: "none" },
}

class Subscription {
  constructor(browser, key) {
    Object.assign(this, { browser, options: { applicationServerKey: key.buffer } })
  }
  toJSON = () => ({ endpoint: "https://push.example/1", keys: { p256dh: "p", auth: "a" }, expirationTime: null })
  unsubscribe = async () => {
    this.browser.calls.push("unsubscribe")
    this.browser.subscription = null
  }
}

class Browser {
  calls = []
  subscription = null
  answer = { status: 200 }
  notifications = []
  scope = SCOPE
  isRegistered = false

  registration = {
    active: {},
    pushManager: {
      getSubscription: async () => this.subscription,
      subscribe: async ({ userVisibleOnly, applicationServerKey }) => {
        this.calls.push(`subscribe ${userVisibleOnly} ${applicationServerKey.length}`)
        return (this.subscription = new Subscription(this, applicationServerKey))
      },
    },
    getNotifications: async () => this.notifications,
    showNotification: async text => this.calls.push(`show ${text}`),
  }

  install() {
    const block = { textContent: JSON.stringify(page) }
    const globals = {
      document: { cookie: "", querySelectorAll: () => [block] },
      location: { href: "https://shop.example/orders/" },
      navigator: {
        serviceWorker: {
          register: async url => {
            this.calls.push(`register ${url}`)
            this.isRegistered = true
            return this.registration
          },
          getRegistration: async () => (this.isRegistered ? { ...this.registration, scope: this.scope } : undefined),
        },
      },
      fetch: async (url, { body, headers }) => {
        this.calls.push(`${url} ${headers["X-CSRFToken"]} ${body}`)
        return Response.json({}, this.answer)
      },
    }
    for (const [name, value] of Object.entries(globals)) {
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
    }
    return this
  }
}

const SENT = 'c {"endpoint":"https://push.example/1","keys":{"p256dh":"p","auth":"a"}}'

test("a browser is subscribed by the site's key, and the site is told", async () => {
  const browser = new Browser().install()
  await subscribe()
  assert.deepEqual(browser.calls, ["register /telltale/push/worker.js", "subscribe true 65", `/add/ ${SENT}`])
  assert.equal(showByWorker("Hello", {}), true)
})

test("a subscription that there is already is kept, and sent again", async () => {
  const browser = new Browser().install()
  await subscribe()
  browser.calls = []
  await subscribe()
  assert.deepEqual(browser.calls, ["register /telltale/push/worker.js", `/add/ ${SENT}`])
})

test("a subscription by another key of the site is replaced", async () => {
  const browser = new Browser().install()
  browser.subscription = new Subscription(browser, new Uint8Array(65))
  await subscribe()
  assert.deepEqual(browser.calls.slice(1), ["unsubscribe", "subscribe true 65", `/add/ ${SENT}`])
})

test("a site that refuses is an error", async () => {
  const browser = new Browser().install()
  browser.answer = { status: 409 }
  await assert.rejects(subscribe(), /409/)
})

test("unsubscribing tells the site, ends the subscription and closes what is shown", async () => {
  const browser = new Browser().install()
  await subscribe()
  browser.calls = []
  browser.notifications = [{ close: () => browser.calls.push("close") }]
  browser.answer = { status: 500 } // The site finds out by the push service.
  await unsubscribe()
  assert.deepEqual(browser.calls, ["close", `/remove/ ${SENT}`, "unsubscribe"])
  browser.calls = []
  await unsubscribe()
  assert.deepEqual(browser.calls, ["close"])
})

test("a service worker of the site itself is left alone", async () => {
  const browser = Object.assign(new Browser(), { isRegistered: true, scope: "https://shop.example/" }).install()
  browser.subscription = new Subscription(browser, new Uint8Array(65))
  await unsubscribe()
  assert.deepEqual(browser.calls, [])
  assert.equal(showByWorker("Hello", {}), false)
})
