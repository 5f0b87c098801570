/** Makes <task-progress> known to the browser, once. */
import { TaskProgress } from "telltale/elements/task-progress.js"

if (!customElements.get("task-progress")) customElements.define("task-progress", TaskProgress)

export { TaskProgress }
