/** Defines <task-toasts>, unless it is defined already. */
import { TaskToasts } from "telltale/elements/task-toasts.js"

if (!customElements.get("task-toasts")) customElements.define("task-toasts", TaskToasts)

export { TaskToasts }
