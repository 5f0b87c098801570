/** How a bar moves: a small step without a transition, which would have the browser paint every frame. */
import assert from "node:assert/strict"
import test from "node:test"

import { fillBar } from "telltale/elements/progress-parts.js"

/** As a `<progress>`: setting the value sets the attribute. */
class SimulatedBar {
  attributes = new Set()
  #value = 0
  sets = 0

  get value() {
    return this.#value
  }
  set value(value) {
    this.#value = value
    this.attributes.add("value")
    this.sets += 1
  }
  hasAttribute(name) {
    return this.attributes.has(name)
  }
  removeAttribute(name) {
    this.attributes.delete(name)
    if (name === "value") this.#value = 0
  }
  toggleAttribute(name, isOn) {
    if (isOn) this.attributes.add(name)
    else this.attributes.delete(name)
  }
  get isSmallStep() {
    return this.hasAttribute("data-small-step")
  }
}

test("only a small step is taken at once, and never the first", () => {
  const bar = new SimulatedBar()
  const steps = [0.001, 0.002, 0.004, 0.3, 0.301, 1].map(position => {
    fillBar(bar, position)
    return bar.isSmallStep
  })
  assert.deepEqual(steps, [false, true, true, false, true, false])
})

test("a bar that stays is not touched, and one of unknown position has no value", () => {
  const bar = new SimulatedBar()
  for (const position of [null, 0.5, 0.5, 0.5]) fillBar(bar, position)
  assert.equal(bar.sets, 1)
  fillBar(bar, null)
  assert.equal(bar.hasAttribute("value"), false)
  fillBar(bar, 0)
  assert.equal(bar.hasAttribute("value"), true)
  assert.equal(bar.isSmallStep, false)
})
