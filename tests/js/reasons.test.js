/** Each reason for closing that the server has, obeyed as `core/reasons.py` says. */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import test from "node:test"

import { Stage, settle } from "./stage.js"

const SOURCE = readFileSync(new URL("../../src/telltale/core/reasons.py", import.meta.url), "utf-8")
const WHEN = { AT_ONCE: "at once", LATER: "later", NEVER: "never" }
const reasons = [...SOURCE.matchAll(/Reason\(\s*code=(\d+), word="([^"]+)", again=Again\.(\w+)/g)].map(
  ([, code, word, again]) => ({ code: Number(code), word, again: WHEN[again] }),
)

/** A page that was live and is told this. */
async function told({ code, again }) {
  const stage = new Stage()
  stage.live.tasks(() => {})
  await settle()
  stage.line.hello()
  stage.line.bye(code, again)
  await settle()
  return stage
}

test("the server's list was read", () => assert.ok(reasons.length >= 11))

for (const reason of reasons) {
  test(`told "${reason.word}", a page comes back ${reason.again}`, async () => {
    const stage = await told(reason)
    assert.equal(stage.live.state, "reconnecting")
    if (reason.again === "at once") {
      await stage.passes(0.01)
      assert.deepEqual([stage.lines.length, stage.line.name], [2, "best"])
    }
    if (reason.again === "later") {
      await stage.passes(0.01)
      assert.equal(stage.lines.length, 1)
      await stage.passes(1)
      assert.deepEqual([stage.lines.length, stage.line.name], [2, "best"])
    }
    if (reason.again === "never") {
      await stage.passes(1)
      assert.deepEqual([stage.requests.length, stage.line.ticket], [1, "ticket 1"], "a fresh ticket is tried once")
      stage.line.bye(reason.code, reason.again)
      await stage.passes(3_600)
      assert.deepEqual([stage.live.state, stage.requests.length, stage.lines.length], ["signed out", 1, 2])
    }
  })
}

test("only one that speaks of the ticket's end has a new ticket fetched before coming back", async () => {
  for (const reason of reasons.filter(({ again }) => again !== "never")) {
    const stage = await told(reason)
    await stage.passes(1)
    assert.equal(stage.requests.length, reason.word === "expired" ? 1 : 0, reason.word)
  }
})

test("a server that turns everybody away at once, again and again, is not hammered", async () => {
  for (const reason of reasons.filter(({ again }) => again !== "never")) {
    const stage = await told(reason)
    for (let i = 0; i < 600; i++) {
      await stage.passes(0.1)
      if (!stage.line.isOpen) continue
      stage.line.hello()
      stage.line.bye(reason.code, reason.again)
    }
    assert.ok(stage.lines.length < 15, `${reason.word}: ${stage.lines.length} lines in a minute`)
  }
})
