/** The browser notifications of this page: the one object, with the browser's own means. */
import { browserStorage } from "telltale/browser-storage.js"
import { isOwnTopic } from "telltale/live/follows.js"
import { Notifications } from "telltale/notifications/notifications.js"
import { readPage } from "telltale/page.js"
/** @import { PushChannel } from "telltale/notifications/notifications.js" */

/** These browsers show only notifications of service workers, which a site has with web push. */
const WORKERS_ONLY = /Android|iPhone|iPad/

/** @type {Notifications | null} */
let notifications = null

/** @returns {Notifications} */
export function pageNotifications() {
  if (notifications) return notifications
  const found = (notifications = new Notifications({
    permission: () => (canNotify() ? Notification.permission : null),
    requestPermission: () => Notification.requestPermission(),
    visitor: () => readPage().topics.find(isOwnTopic) ?? null,
    storage: browserStorage(),
    wallNow: Date.now,
    push: pushChannel,
  }))
  // Another page of this browser has turned them on or off.
  addEventListener("storage", () => found.changed())
  found.resume()
  // Registered workers outlive pages; only some browsers need them to show a notification.
  if (found.isOn && needsWorker()) loadPush().then(push => push.findWorker()).catch(() => {})
  return found
}

/** Without https, browsers offer no notifications, except on localhost. */
function canNotify() {
  return isSecureContext && "Notification" in globalThis && (!needsWorker() || pushChannel() !== null)
}

/** @returns {PushChannel | null} null if the site or the browser has no web push */
function pushChannel() {
  const { push } = readPage()
  if (!push || !("serviceWorker" in navigator) || !("PushManager" in globalThis)) return null
  return {
    known: push.known,
    subscribe: async () => (await loadPush()).subscribe(),
    unsubscribe: async () => (await loadPush()).unsubscribe(),
  }
}

/** Loaded on demand, because few visitors need it; in one file with the elements that show notices. */
const loadPush = () => import( "telltale/elements/notices.js")

const needsWorker = () => WORKERS_ONLY.test(navigator.userAgent)
