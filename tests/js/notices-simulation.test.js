/** Thousands of random histories of notices: none is lost, none is shown twice. */
import assert from "node:assert/strict"
import test from "node:test"

import { SABOTAGES, firstBroken } from "./simulated-notices.js"

/** More by `TELLTALE_HISTORIES=100000`; the same again by `TELLTALE_SEED`. */
const HISTORIES = Number(process.env.TELLTALE_HISTORIES ?? 1_000)
const SEED = Number(process.env.TELLTALE_SEED ?? Math.floor(Math.random() * 2 ** 31))

const report = world => `seed ${world.seed}: ${world.problems.slice(0, 3).join("; ")}`

for (const devices of [1, 2]) {
  test(`on ${devices} device(s), no notice is lost and none is shown twice, whatever is closed or lost`, async t => {
    t.diagnostic(`${HISTORIES} histories from seed ${SEED}`)
    const broken = await firstBroken(SEED, HISTORIES, { devices })
    assert.equal(broken && report(broken), null)
  })
}

for (const [name, sabotage] of Object.entries(SABOTAGES)) {
  test(`a promise is broken if ${name}`, async t => {
    const broken = await firstBroken(SEED, 3_000, { sabotage, devices: 1 })
    assert.ok(broken, `no history from seed ${SEED} was broken`)
    t.diagnostic(report(broken))
  })
}
