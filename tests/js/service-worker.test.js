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
  registration = {
    scope: `${SITE}/push/`,
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
    new Function("self", SOURCE)({
      addEventListener: (name, listener) => (this.listeners[name] = listener),
      registration: this.registration,
      clients: this.clients,
    })
  }

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

test("the worker answers no requests and keeps nothing", () => {
  assert.deepEqual(Object.keys(new Worker().listeners).sort(), ["notificationclick", "push"])
})
