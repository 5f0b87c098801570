/** Makes <task-tray> known to the browser, once. */
import { TaskTray } from "telltale/elements/task-tray.js"

if (!customElements.get("task-tray")) customElements.define("task-tray", TaskTray)

export { TaskTray }
