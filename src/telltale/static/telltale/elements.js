/** Defines the elements of Telltale; loads those that many pages lack on demand. `{% telltale %}` loads this module. */
import { loadOnDemand } from "telltale/elements/on-demand.js"
import "telltale/elements/task-progress-define.js"
import "telltale/elements/task-status-define.js"

// The spaces: without them, `support_js_module_import_aggregation` of Django 5.2 takes the names for addresses.
const notices = () => import( "telltale/elements/notices.js")

loadOnDemand({
  "task-messages": notices,
  "task-timeline": () => import( "telltale/elements/task-timeline-define.js"),
  "task-toasts": notices,
  "task-tray": () => import( "telltale/elements/task-tray-define.js"),
})
