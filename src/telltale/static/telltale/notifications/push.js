/**
 * This browser's push subscription: made at the browser's push service, and kept by the site.
 *
 * The service worker has a folder of its own as its scope, so it controls no page and meets no worker of the site.
 */
import { readPage } from "telltale/page.js"
import { postSubscription } from "telltale/requests.js"

/** The limit for each call, because the browser's push service may not answer. */
const SERVICE_MS = 30_000

/** @type {ServiceWorkerRegistration | null} */
let registration = null

/** Subscribe this browser, or renew its subscription. Rejects if the browser, its push service or the site refuses. */
export const subscribe = () => limited(makeSubscription())

/** End the subscription, at the push service and at the site, and close the notifications that are shown. */
export const unsubscribe = () => limited(endSubscription())

/**
 * Show a notification by the service worker, for browsers that let pages show none.
 * @param {string} text
 * @param {NotificationOptions} options
 * @returns {boolean} whether there is a service worker
 */
export function showByWorker(text, options) {
  registration?.showNotification(text, options).catch(() => {})
  return registration !== null
}

/** Return the registration of the service worker that an earlier page has registered; null without one. */
export async function findWorker() {
  const { push } = readPage()
  if (!push || !("serviceWorker" in navigator)) return null
  const scope = new URL("./", new URL(push.worker, location.href)).href
  const found = await navigator.serviceWorker.getRegistration(scope)
  // The site may have a worker of its own for all its addresses.
  return (registration = found?.scope === scope ? found : null)
}

async function makeSubscription() {
  const { push } = readPage()
  if (!push) return
  registration = await navigator.serviceWorker.register(trusted(push.worker))
  await activated(registration)
  const manager = registration.pushManager
  const key = bytesOf(push.key)
  let subscription = await manager.getSubscription()
  if (subscription && !hasKey(subscription, key)) {
    await subscription.unsubscribe()
    subscription = null
  }
  subscription ??= await manager.subscribe({ userVisibleOnly: true, applicationServerKey: key })
  await postSubscription(readPage(), push.subscribe, subscription.toJSON())
}

async function endSubscription() {
  const found = await findWorker()
  if (!found) return
  for (const notification of await found.getNotifications()) notification.close()
  const subscription = await found.pushManager.getSubscription()
  if (!subscription) return
  const { push } = readPage()
  const isToldToSite = push && postSubscription(readPage(), push.unsubscribe, subscription.toJSON())
  await Promise.allSettled([isToldToSite, subscription.unsubscribe()])
}

/**
 * Resolves when the registration has an active worker.
 * @param {ServiceWorkerRegistration} registration
 */
function activated({ installing, waiting, active }) {
  const worker = installing ?? waiting
  if (active || !worker) return Promise.resolve()
  return new Promise(resolve =>
    worker.addEventListener("statechange", () => worker.state === "activated" && resolve(null)),
  )
}

/**
 * @param {PushSubscription} subscription
 * @param {Uint8Array<ArrayBuffer>} key
 */
function hasKey({ options }, key) {
  const given = new Uint8Array(options?.applicationServerKey ?? key)
  return given.length === key.length && given.every((byte, i) => byte === key[i])
}

/** @param {string} text base64url */
const bytesOf = text => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), c => c.charCodeAt(0))

/** @type {{createScriptURL: (url: string) => any} | null} kept, because browsers allow one policy of a name */
let policy = null

/**
 * The address as Trusted Types demand it. A policy for them must name "telltale".
 * @param {string} url of the site's own service worker
 * @returns {any}
 */
function trusted(url) {
  const { trustedTypes } = /** @type {any} */ (globalThis)
  if (!trustedTypes) return url
  policy ??= trustedTypes.createPolicy("telltale", { createScriptURL: (/** @type {string} */ text) => text })
  return policy?.createScriptURL(url)
}

/**
 * Settles as the promise does; rejects after `SERVICE_MS`.
 * @template T
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
function limited(promise) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("The browser's push service does not answer.")), SERVICE_MS)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
