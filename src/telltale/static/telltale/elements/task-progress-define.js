/** Defines <task-progress>, unless it is defined already. */
import { TaskProgress } from "telltale/elements/task-progress.js"

if (!customElements.get("task-progress")) customElements.define("task-progress", TaskProgress)

export { TaskProgress }
