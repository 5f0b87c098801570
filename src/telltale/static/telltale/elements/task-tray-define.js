/** Defines <task-tray>, unless it is defined already. */
import { TaskTray } from "telltale/elements/task-tray.js"

if (!customElements.get("task-tray")) customElements.define("task-tray", TaskTray)

export { TaskTray }
