/** Defines <task-messages>, unless it is defined already. */
import { TaskMessages } from "telltale/elements/task-messages.js"

if (!customElements.get("task-messages")) customElements.define("task-messages", TaskMessages)

export { TaskMessages }
