/** Hostile data in a page, and what one visitor leaves in the browser for the next. */
import assert from "node:assert/strict"
import { readFileSync, readdirSync } from "node:fs"
import test from "node:test"

import { Receipts } from "telltale/elements/receipts.js"
import { TrayTasks } from "telltale/elements/tray-tasks.js"
import { Follows } from "telltale/live/follows.js"
import { decode } from "telltale/live/protocol.js"
import { Snapshots } from "telltale/live/snapshots.js"

import { SimulatedStorage } from "./simulated-storage.js"

const NAMES = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"]
const snapshot = id => ({ id, attempt: 1, ended: false, seq: 1, state: "running", label: "Private", created_at: 1 })

test("S33: names of an object's own parts are ids like others, and change no other object", () => {
  const text = JSON.stringify({ type: "update", tasks: NAMES.map(snapshot), events: [] })
  const hostile = text.replace('"events":[]', '"events":[{"topic":"a:b","name":"x","data":{"__proto__":{"polluted":1}}}],"__proto__":{"polluted":1}')
  const snapshots = new Snapshots()
  const news = snapshots.merge(decode(hostile))
  assert.deepEqual(news.tasks.map(task => task.id), NAMES)
  assert.deepEqual([...snapshots.tasks.keys()], NAMES)
  assert.deepEqual(Object.getOwnPropertyNames(JSON.parse(JSON.stringify(snapshots.have))), NAMES)
  snapshots.merge({ corrected: NAMES })
  assert.equal(snapshots.tasks.size, 0)
  assert.equal({}.polluted, undefined)
  assert.equal(typeof {}.toString, "function")
})

test("S33: topics with such names are followed and released like others", () => {
  const follows = new Follows([])
  const released = []
  const life = new AbortController()
  for (const name of NAMES) {
    follows.add(`task:${name}`, { signal: life.signal, onReleased: () => released.push(name) })
    assert.ok(follows.isFollowed(`task:${name}`))
  }
  life.abort()
  assert.deepEqual(released, NAMES)
  assert.ok(NAMES.every(name => !follows.isFollowed(`task:${name}`)))
})

test("S49: the browser's storage holds ids and times, and no text for the next visitor", () => {
  const storage = new SimulatedStorage()
  const tray = new TrayTasks(() => storage)
  tray.clear([{ ...snapshot("4b8e"), ended: true, error: "Private", result: "/private/" }])
  const env = { setTimeout: () => 1, clearTimeout: () => {}, random: () => 0.5, wallNow: () => 1_790_000_000_000, canSend: () => true }
  new Receipts(storage, () => new Promise(() => {}), env).add("n1", "h1")
  assert.ok(Object.keys(storage).length >= 2)
  assert.doesNotMatch(JSON.stringify(storage), /private/i)
  assert.deepEqual(JSON.parse(storage["telltale-shown:n1"]), { holder: "h1", at: 1_790_000_000_000 })
})

test("S49: no module hears messages of other windows", () => {
  const folder = new URL("../../src/telltale/static/telltale/", import.meta.url)
  for (const name of readdirSync(folder, { recursive: true }).filter(name => name.endsWith(".js"))) {
    const source = readFileSync(new URL(name, folder), "utf-8")
    assert.doesNotMatch(source, /window\.onmessage|window\.addEventListener\("message"|window\.opener|parent\.postMessage/, name)
  }
})
