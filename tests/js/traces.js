/** The recorded traces, which the Python connections made (tests/simulation/traces.py). */
import { readFileSync, readdirSync } from "node:fs"

const FOLDER = new URL("../traces/", import.meta.url)

const load = name => JSON.parse(readFileSync(new URL(name, FOLDER), "utf-8"))

export const traces = readdirSync(FOLDER).filter(name => name !== "task-text.json").map(load)
export const shared = load("task-text.json")
