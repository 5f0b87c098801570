/** Rules for the source of every module. */
import assert from "node:assert/strict"
import { readFileSync, readdirSync } from "node:fs"
import test from "node:test"

const FOLDER = new URL("../../src/telltale/static/telltale/", import.meta.url)
const modules = readdirSync(FOLDER, { recursive: true }).filter(name => name.endsWith(".js"))

test("the modules are found, in folders too", () => {
  for (const name of ["index.js", "live/live.js", "elements/dom.js"]) assert.ok(modules.includes(name), name)
})

for (const name of modules) {
  const source = readFileSync(new URL(name, FOLDER), "utf-8")

  test(`${name} makes no markup or code from text`, () => {
    assert.doesNotMatch(source, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|\.cssText/)
  })

  test(`${name} imports by the names of the import map`, () => {
    for (const [, imported] of source.matchAll(/(?:from|import) "([^"]+)"/g)) {
      assert.ok(imported === "telltale" || modules.includes(imported.replace("telltale/", "")), imported)
    }
  })

  test(`${name} begins with a comment that describes it`, () => assert.match(source, /^\/\*\*/))
}

test("no two modules export different things under one name: in a built package, one file exports them all", () => {
  const exporters = new Map()
  for (const name of modules) {
    const source = readFileSync(new URL(name, FOLDER), "utf-8")
    for (const [, exported] of source.matchAll(/^export (?:async )?(?:const|let|class|function) ([\w$]+)/gm)) {
      exporters.set(exported, [...(exporters.get(exported) ?? []), name])
    }
  }
  assert.ok(exporters.size > 50)
  assert.deepEqual([...exporters].filter(([, names]) => names.length > 1), [])
})
