/** All elements of Telltale; this is what `{% telltale %}` loads. */
import "telltale/task-progress-define.js"
import "telltale/task-toasts-define.js"
import "telltale/task-tray-define.js"
