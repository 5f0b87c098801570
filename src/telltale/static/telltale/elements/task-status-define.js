/** Defines <task-status>, unless it is defined already. */
import { TaskStatus } from "telltale/elements/task-status.js"

if (!customElements.get("task-status")) customElements.define("task-status", TaskStatus)

export { TaskStatus }
