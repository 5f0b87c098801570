/** Makes <task-toasts> known to the browser, once. */
import { TaskToasts } from "telltale/elements/task-toasts.js"

if (!customElements.get("task-toasts")) customElements.define("task-toasts", TaskToasts)

export { TaskToasts }
