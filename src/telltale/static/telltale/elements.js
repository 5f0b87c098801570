/** All elements of Telltale; this is what `{% telltale %}` loads. */
import "telltale/elements/task-progress-define.js"
import "telltale/elements/task-toasts-define.js"
import "telltale/elements/task-tray-define.js"
