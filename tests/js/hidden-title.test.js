/** The module of the title is loaded when the page is hidden, and is used from then on. */
import assert from "node:assert/strict"
import test from "node:test"

import { withTitle } from "telltale/elements/hidden-title.js"

test("the module is loaded when the page is hidden for the first time, and called in order", async () => {
  const page = (globalThis.document = { hidden: false })
  const calls = []
  withTitle(() => calls.push("while visible"))
  page.hidden = true
  withTitle(title => calls.push(typeof title.setTitleProgress))
  page.hidden = false
  await new Promise(resolve =>
    withTitle(title => {
      calls.push(typeof title.clearTitleProgress)
      resolve()
    }),
  )
  assert.deepEqual(calls, ["function", "function"])
})
