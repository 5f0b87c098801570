/** Many updates are shown in one frame, and elements out of sight are left alone until they come into sight. */
import assert from "node:assert/strict"
import test from "node:test"

import { RenderQueue, Rendering } from "telltale/elements/render-queue.js"
import { Texts } from "telltale/task-text.js"

/** A queue whose frames come when the test says so. */
function frames() {
  const requested = []
  const queue = new RenderQueue(callback => requested.push(callback))
  const draw = () => requested.splice(0).forEach(callback => callback())
  return { queue, requested, draw }
}

/** An element that counts how often it has shown its newest state. */
function element(queue) {
  const shown = { times: 0, rendering: new Rendering(() => show(), queue) }
  const show = () => {
    shown.rendering.done()
    shown.times += 1
  }
  return shown
}

test("all updates of all elements between two frames are shown in one frame, each element once", () => {
  const { queue, requested, draw } = frames()
  const elements = [element(queue), element(queue)]
  for (let update = 0; update < 50; update += 1) for (const { rendering } of elements) rendering.request()
  assert.equal(requested.length, 1)
  assert.deepEqual(elements.map(({ times }) => times), [0, 0])
  draw()
  assert.deepEqual(elements.map(({ times }) => times), [1, 1])
  elements[0].rendering.request()
  draw()
  assert.deepEqual(elements.map(({ times }) => times), [2, 1])
})

test("an element out of sight shows its newest state when it comes into sight, and only if there is one", () => {
  const { queue, requested, draw } = frames()
  const shown = element(queue)
  shown.rendering.setInSight(false)
  shown.rendering.request()
  shown.rendering.request()
  draw()
  assert.deepEqual([requested.length, shown.times], [0, 0])
  shown.rendering.setInSight(true)
  assert.equal(shown.times, 1)
  shown.rendering.setInSight(false)
  shown.rendering.setInSight(true)
  draw()
  assert.equal(shown.times, 1)
})

test("an element that leaves the window before the frame is shown when it comes back", () => {
  const { queue, draw } = frames()
  const shown = element(queue)
  shown.rendering.request()
  shown.rendering.setInSight(false)
  draw()
  assert.equal(shown.times, 0)
  shown.rendering.setInSight(true)
  assert.equal(shown.times, 1)
})

test("a state that was shown at once is not shown again in the frame", () => {
  const { queue, draw } = frames()
  const shown = element(queue)
  shown.rendering.request()
  shown.rendering.done()
  draw()
  assert.equal(shown.times, 0)
})

test("an element that fails is reported, and the others are shown", () => {
  const { queue, draw } = frames()
  const reported = []
  globalThis.reportError = error => reported.push(error.message)
  try {
    queue.add(() => {
      throw new Error("broken")
    })
    const shown = element(queue)
    shown.rendering.request()
    draw()
    assert.deepEqual([reported, shown.times], [["broken"], 1])
  } finally {
    delete globalThis.reportError
  }
})

test("no number makes a formatter of its own", t => {
  const texts = new Texts({ messages: {}, plurals: {}, rules: [], group: ",", decimal: "." })
  const made = t.mock.method(Number.prototype, "toLocaleString")
  const constructed = t.mock.method(Intl, "NumberFormat")
  assert.deepEqual([0, 999, 1234567, 12.34, -1500].map(n => texts.number(n)), ["0", "999", "1,234,567", "12.3", "-1,500"])
  assert.deepEqual([made.mock.callCount(), constructed.mock.callCount()], [0, 0])
})
