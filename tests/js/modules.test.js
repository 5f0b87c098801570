/** Rules for the source of every module. */
import assert from "node:assert/strict"
import { readFileSync, readdirSync } from "node:fs"
import test from "node:test"

const FOLDER = new URL("../../src/telltale/static/telltale/", import.meta.url)
const modules = readdirSync(FOLDER, { recursive: true }).filter(name => name.endsWith(".js"))
const isForFramework = name => name.startsWith("frameworks/")
const names = ["telltale", ...modules.map(name => `telltale/${isForFramework(name) ? name.slice(11, -3) : name}`)]

test("the modules are found, in folders too", () => {
  for (const name of ["index.js", "live/live.js", "elements/dom.js"]) assert.ok(modules.includes(name), name)
})

for (const name of modules) {
  const source = readFileSync(new URL(name, FOLDER), "utf-8")

  test(`S29: ${name} makes no markup or code from text`, () => {
    assert.doesNotMatch(source, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|\bFunction\(|\.cssText|srcdoc|createContextual/)
  })

  test(`${name} imports by the names of the import map`, () => {
    const framework = isForFramework(name) ? [name.slice("frameworks/".length, -3)] : []
    for (const [, imported] of source.matchAll(/(?:from|import) "([^"]+)"/g)) {
      assert.ok([...names, ...framework].includes(imported), imported)
    }
  })

  test(`${name} begins with a comment that describes it`, () => assert.match(source, /^\/\*\*/))
}

test("no two modules export different things under one name: in a built package, one file exports them all", () => {
  const exporters = new Map()
  for (const name of modules.filter(name => !isForFramework(name))) {
    const source = readFileSync(new URL(name, FOLDER), "utf-8")
    for (const [, exported] of source.matchAll(/^export (?:async )?(?:const|let|class|function) ([\w$]+)/gm)) {
      exporters.set(exported, [...(exporters.get(exported) ?? []), name])
    }
  }
  assert.ok(exporters.size > 50)
  assert.deepEqual([...exporters].filter(([, names]) => names.length > 1), [])
})
