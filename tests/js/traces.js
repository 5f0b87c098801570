/** The recorded traces, which the Python connections made (tests/simulation/traces.py). */
import { readFileSync, readdirSync } from "node:fs"

const FOLDER = new URL("../traces/", import.meta.url)

const load = name => JSON.parse(readFileSync(new URL(name, FOLDER), "utf-8"))

export const shared = load("task-text.json")
export const cancelCases = load("can-cancel.json").cases

/** The recorded ones: the folder has other shared cases too. */
export const traces = readdirSync(FOLDER)
  .map(load)
  .filter(content => content.frames)
