/** The polling transport, with scripted responses. */
import assert from "node:assert/strict"
import test from "node:test"

import { CLOSE } from "telltale/live/protocol.js"
import { polling } from "telltale/live/polling.js"

import { Recorder, until, wait } from "./recorder.js"

/** A thousand times as fast as in a browser. */
const envWith = fetch => ({ fetch, setTimeout: (callback, ms) => setTimeout(callback, ms / 1000), clearTimeout })

test("the first poll is answered at once, later ones may be held, until one fails", async () => {
  const recorder = new Recorder()
  const bodies = []
  const fetch = async (_url, { body, headers }) => {
    bodies.push(JSON.parse(body))
    assert.equal(headers.Accept, "application/json")
    assert.equal(headers.Authorization, "Bearer T")
    if (bodies.length === 3) throw new Error("no network")
    return new Response('{"type":"poll","poll_after_s":2}')
  }
  polling(recorder.options, envWith(fetch))
  await until(() => recorder.ends > 0)
  assert.deepEqual(bodies.map(body => body.wait_s), [0, 25, 25])
  assert.deepEqual(bodies[0], { have: { a: [1, false, 2] }, seen: ["n1"], wait_s: 0 })
  assert.deepEqual([recorder.messages.length, recorder.ends], [2, 1])
})

test("a refused poll reports the reason and ends", async () => {
  const recorder = new Recorder()
  const bye = JSON.stringify({ type: "bye", code: CLOSE.LIMIT, again: "later" })
  polling(recorder.options, envWith(async () => new Response(bye, { status: 429 })))
  await until(() => recorder.ends > 0)
  assert.deepEqual([recorder.messages.map(message => message.code), recorder.ends], [[CLOSE.LIMIT], 1])
})

test("`pollNow` polls at once; after `close`, nothing is reported", async () => {
  const recorder = new Recorder()
  let count = 0
  const fetch = async () => {
    count += 1
    return new Response('{"type":"poll","poll_after_s":600}')
  }
  const transport = polling(recorder.options, envWith(fetch))
  await until(() => recorder.messages.length === 1)
  assert.equal(count, 1)
  transport.pollNow()
  await until(() => recorder.messages.length === 2)
  assert.equal(count, 2)
  transport.close()
  await wait(700)
  assert.deepEqual([count, recorder.ends], [2, 0])
})

test("a ticket with other topics is used at once, although the server holds the answer", async () => {
  const recorder = new Recorder()
  const holds = []
  const fetch = (_url, { body, signal }) => {
    holds.push(JSON.parse(body).wait_s)
    if (holds.length !== 2) return Promise.resolve(new Response('{"type":"poll","poll_after_s":0}'))
    return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
  }
  const transport = polling(recorder.options, { ...envWith(fetch), setTimeout: callback => setTimeout(callback, 20_000) })
  await until(() => recorder.messages.length === 1)
  transport.pollNow()
  await until(() => holds.length === 2)
  assert.equal(transport.updateTicket("T2", false), true)
  await wait(20)
  assert.equal(holds.length, 2, "a ticket with the same topics waits for the next request")
  transport.updateTicket("T3", true)
  await until(() => recorder.messages.length === 2)
  assert.deepEqual([holds.length, recorder.ends], [3, 0])
  transport.close()
})

test("an answer that comes just before a ticket with other topics is passed on, because its events come only once", async () => {
  const recorder = new Recorder()
  let transport = null
  let count = 0
  const fetch = async () => {
    count += 1
    if (count > 1) return new Promise(() => {})
    const response = new Response('{"type":"poll","events":[{"topic":"project:7","name":"x"}]}')
    response.text = async () => {
      queueMicrotask(() => transport.updateTicket("T2", true))
      return '{"type":"poll","events":[{"topic":"project:7","name":"x"}]}'
    }
    return response
  }
  transport = polling(recorder.options, envWith(fetch))
  await until(() => count === 2)
  assert.deepEqual([recorder.messages.length, recorder.ends], [1, 0])
  transport.close()
})
