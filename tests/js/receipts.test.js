/** Receipts: what a page of this browser has shown is told to the server, also if the page is closed meanwhile. */
import assert from "node:assert/strict"
import test from "node:test"

import { Receipts } from "telltale/elements/receipts.js"

import { Timers, settle } from "./simulated-page.js"
import { SimulatedStorage } from "./simulated-storage.js"

class Tab {
  confirmed = []
  isServerDown = false
  isSignedOut = false
  #timers = new Timers(0, 1)

  constructor(storage) {
    const confirm = async (id, holder) => {
      if (this.isServerDown) throw new Error("Undecided: 502.")
      this.confirmed.push([id, holder])
    }
    const more = { wallNow: () => this.#timers.now, canSend: () => !this.isSignedOut }
    this.receipts = new Receipts(storage, confirm, { ...this.#timers.env, ...more })
  }

  pass(ms) {
    return this.#timers.pass(ms)
  }
}

test("a notice that was shown is confirmed at once, and its receipt deleted", async () => {
  const storage = new SimulatedStorage()
  const tab = new Tab(storage)
  tab.receipts.add("n1", "A")
  assert.equal(tab.receipts.has("n1"), true)
  await settle()
  assert.deepEqual([tab.confirmed, Object.keys(storage), tab.receipts.has("n1")], [[["n1", "A"]], [], false])
})

test("while the server is away, it is tried again with back-off, and nothing else is lost", async () => {
  const tab = new Tab(new SimulatedStorage())
  tab.isServerDown = true
  tab.receipts.add("n1", "A")
  tab.receipts.add("n2", "A")
  await tab.pass(60_000)
  assert.deepEqual([tab.receipts.has("n1"), tab.receipts.has("n2")], [true, true])
  tab.isServerDown = false
  await tab.pass(60_000)
  assert.deepEqual(tab.confirmed, [["n1", "A"], ["n2", "A"]])
})

test("the receipt of a page that was closed is known to the next page, which sends it", async () => {
  const storage = new SimulatedStorage()
  const closed = new Tab(storage)
  closed.isServerDown = true
  closed.receipts.add("n1", "A")
  await settle()
  const next = new Tab(storage)
  assert.equal(next.receipts.has("n1"), true)
  next.receipts.sendNow()
  await settle()
  assert.deepEqual([next.confirmed, Object.keys(storage)], [[["n1", "A"]], []])
})

const FAILING = {
  "without storage": null,
  "with a storage that is full": { getItem: () => null, setItem: () => assert.fail(), removeItem: () => {} },
  "with a forbidden storage": new Proxy({}, { get: () => assert.fail() }),
}
for (const [name, storage] of Object.entries(FAILING)) {
  test(`${name} a receipt lasts as long as its page`, async () => {
    const tab = new Tab(storage)
    tab.isServerDown = true
    tab.receipts.add("n1", "A")
    await settle()
    assert.equal(tab.receipts.has("n1"), true)
    tab.isServerDown = false
    await tab.pass(60_000)
    assert.deepEqual([tab.confirmed, tab.receipts.has("n1")], [[["n1", "A"]], false])
  })
}

test("a receipt that can't be deleted is sent once", async () => {
  const storage = new SimulatedStorage()
  storage.removeItem = () => {}
  const tab = new Tab(storage)
  tab.receipts.add("n1", "A")
  await tab.pass(600_000)
  tab.receipts.sendNow()
  await tab.pass(600_000)
  assert.deepEqual(tab.confirmed, [["n1", "A"]])
})

test("a page that is signed out sends nothing, and a receipt that nothing could send for weeks is deleted", async () => {
  const storage = new SimulatedStorage()
  const tab = new Tab(storage)
  tab.isSignedOut = true
  tab.receipts.add("n1", "A")
  await tab.pass(15 * 86_400_000)
  assert.deepEqual(tab.confirmed, [])
  tab.isSignedOut = false
  tab.receipts.sendNow()
  await settle()
  assert.deepEqual([tab.confirmed, Object.keys(storage)], [[], []])
})

test("what others have put into the storage is left alone", async () => {
  const storage = new SimulatedStorage()
  storage.setItem("theme", "dark")
  storage.setItem("telltale-shown:n1", "not JSON")
  const tab = new Tab(storage)
  tab.receipts.sendNow()
  await settle()
  assert.deepEqual([tab.confirmed, Object.keys(storage)], [[], ["theme"]])
})
