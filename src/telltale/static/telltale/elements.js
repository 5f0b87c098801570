/** Defines all elements of Telltale. `{% telltale %}` loads this module. */
import "telltale/elements/task-messages-define.js"
import "telltale/elements/task-progress-define.js"
import "telltale/elements/task-status-define.js"
import "telltale/elements/task-toasts-define.js"
import "telltale/elements/task-tray-define.js"
