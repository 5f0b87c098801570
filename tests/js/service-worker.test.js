/** The service worker of web push, in a worker that the test stands for. */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import test from "node:test"

const SOURCE = readFileSync(new URL("../../src/telltale/push/service-worker.js", import.meta.url), "utf-8")
const SITE = "https://shop.example/app/telltale"

class Worker {
  listeners = {}
  shown = []
  opened = []
  focused = []
  windows = []
  page = { csrf: { token: "c" }, push: { key: "K", subscribe: "/app/telltale/push/subscribe/?visitor=user%3A7", known: "current" } }
  subscription = null
  requests = []
  answer = { status: 200 }
  registration = {
    scope: `${SITE}/push/`,
    pushManager: {
      getSubscription: async () => this.subscription,
      subscribe: async options => this.subscribe(options),
    },
    showNotification: async (text, options) => this.shown.push({ text, ...options }),
  }
  clients = {
    matchAll: async options => {
      assert.deepEqual(options, { type: "window", includeUncontrolled: true })
      return this.windows.map(url => ({ url, focus: async () => this.focused.push(url) }))
    },
    openWindow: async url => this.opened.push(url),
  }

  constructor() {
    const self = {
      addEventListener: (name, listener) => (this.listeners[name] = listener),
      registration: this.registration,
      clients: this.clients,
    }
    new Function("self", "fetch", SOURCE)(self, this.fetch)
  }

  fetch = async (url, init) => {
    const { credentials, redirect, signal, method = "GET", headers, body } = init
    assert.deepEqual([credentials, redirect, signal.aborted], ["same-origin", "error", false])
    this.requests.push(`${method} ${url.pathname}${url.search} ${headers["X-CSRFToken"] ?? ""} ${body ?? ""}`.trim())
    return Response.json(this.page, this.answer)
  }

  subscribe(options) {
    assert.deepEqual(options, { userVisibleOnly: true, applicationServerKey: "K" })
    return subscriptionAt("https://push.example/made")
  }

  change = newSubscription => this.dispatch("pushsubscriptionchange", { newSubscription })

  async dispatch(name, event) {
    const waits = []
    this.listeners[name]({ ...event, waitUntil: promise => waits.push(promise) })
    assert.equal(waits.length, 1) // The browser must not stop the worker before.
    await Promise.all(waits)
  }

  push = message => this.dispatch("push", { data: { json: () => message } })

  async click(url) {
    let isClosed = false
    await this.dispatch("notificationclick", { notification: { data: { url }, close: () => (isClosed = true) } })
    assert.ok(isClosed)
  }
}

test("a message is shown as a notification, and a second time in the place of the first", async () => {
  const worker = new Worker()
  await worker.push({ id: "n1", text: "Import: finished.", url: "/tasks/7/" })
  await worker.push({ id: "n1", text: "Import: finished.", url: "/tasks/7/" })
  assert.deepEqual(worker.shown[0], { text: "Import: finished.", tag: "telltale-n1", data: { url: "/tasks/7/" } })
  assert.deepEqual(worker.shown[1], worker.shown[0])
})

for (const [url, address] of [
  ["/tasks/7/", "https://shop.example/tasks/7/"],
  ["https://files.example/report.pdf", "https://files.example/report.pdf"],
  [null, `${SITE}/messages/`],
  ["", `${SITE}/messages/`],
  [7, `${SITE}/messages/`],
  ["javascript:alert(1)", `${SITE}/messages/`],
  ["data:text/html,x", `${SITE}/messages/`],
  ["http://[", `${SITE}/messages/`],
]) {
  test(`a click on a notification with the link ${JSON.stringify(url)} opens ${address}`, async () => {
    const worker = new Worker()
    worker.windows = ["https://shop.example/other/"]
    await worker.click(url)
    assert.deepEqual([worker.opened, worker.focused], [[address], []])
  })
}

test("a click brings the page to the front that has the address open already", async () => {
  const worker = new Worker()
  worker.windows = ["https://shop.example/other/", "https://shop.example/tasks/7/"]
  await worker.click("/tasks/7/")
  assert.deepEqual([worker.opened, worker.focused], [[], ["https://shop.example/tasks/7/"]])
})

test("a notification without data, such as of an earlier version, leads to the messages", async () => {
  const worker = new Worker()
  await worker.dispatch("notificationclick", { notification: { close: () => {} } })
  assert.deepEqual(worker.opened, [`${SITE}/messages/`])
})

const subscriptionAt = endpoint => ({ toJSON: () => ({ endpoint, keys: { p256dh: "p", auth: "a" }, expirationTime: null }) })
const PAGE = "GET /app/telltale/page/"
const told = endpoint =>
  `POST /app/telltale/push/subscribe/?visitor=user%3A7 c {"endpoint":"${endpoint}","keys":{"p256dh":"p","auth":"a"}}`

for (const known of ["current", "old"]) {
  test(`the site is told of a subscription that the browser has replaced, for a session that is ${known}`, async () => {
    const worker = new Worker()
    worker.page.push.known = known
    await worker.change(subscriptionAt("https://push.example/new"))
    assert.deepEqual(worker.requests, [PAGE, told("https://push.example/new")])
  })
}

test("a browser that only ends its subscription is subscribed again, unless a page was faster", async () => {
  const worker = new Worker()
  await worker.change(null)
  worker.subscription = subscriptionAt("https://push.example/of-a-page")
  await worker.change(undefined)
  assert.deepEqual(worker.requests, [PAGE, told("https://push.example/made"), PAGE, told("https://push.example/of-a-page")])
})

for (const [who, push] of [
  ["a visitor who has signed out, or another one", { known: "none" }],
  ["a site that has no web push any more", undefined],
]) {
  test(`${who} is not subscribed`, async () => {
    const worker = new Worker()
    worker.page.push = push
    worker.subscribe = () => assert.fail("subscribed")
    await worker.change(null)
    await worker.change(subscriptionAt("https://push.example/new"))
    assert.deepEqual(worker.requests, [PAGE, PAGE])
  })
}

test("a site that refuses, such as by a login wall, is told nothing more: the next page renews", async () => {
  const worker = new Worker()
  worker.answer = { status: 403 }
  await assert.rejects(worker.change(null), /page\/ answers with 403/)
  assert.deepEqual(worker.requests, [PAGE])
})

test("the worker answers no requests and keeps nothing", () => {
  assert.deepEqual(Object.keys(new Worker().listeners).sort(), ["notificationclick", "push", "pushsubscriptionchange"])
})
