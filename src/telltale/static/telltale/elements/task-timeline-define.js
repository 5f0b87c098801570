/** Defines <task-timeline>, unless it is defined already. */
import { TaskTimeline } from "telltale/elements/task-timeline.js"

if (!customElements.get("task-timeline")) customElements.define("task-timeline", TaskTimeline)

export { TaskTimeline }
