/**
 * Loads all that shows notices: two elements, browser notifications and web push. They share modules, so they are in
 * one file.
 */
import "telltale/elements/task-messages-define.js"
import "telltale/elements/task-toasts-define.js"

export { notifyWhileHidden } from "telltale/notifications/hidden-page.js"
export { findWorker, subscribe, unsubscribe } from "telltale/notifications/push.js"
