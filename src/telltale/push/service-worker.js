/**
 * The service worker of web push: shows a message as a notification, and opens its page at a click. If the browser
 * changes its subscription, the worker tells the site.
 *
 * It controls no page and caches nothing. The site sends `{id, text, url}`, encrypted for this browser.
 */
"use strict"

/** How long to wait for an answer of the site. */
const ANSWER_MS = 15_000

self.addEventListener("push", event => event.waitUntil(show(event.data)))
self.addEventListener("notificationclick", event => {
  event.notification.close()
  event.waitUntil(open(event.notification.data?.url))
})
self.addEventListener("pushsubscriptionchange", event => event.waitUntil(renew(event.newSubscription)))

async function show(data) {
  const { id, text, url } = data.json()
  // The tag: a message that arrives twice is shown once.
  await self.registration.showNotification(String(text), { tag: `telltale-${id}`, data: { url } })
}

async function open(url) {
  const address = safeAddress(url) ?? new URL("../messages/", self.registration.scope).href
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true })
  const window = windows.find(window => window.url === address)
  await (window ? window.focus() : self.clients.openWindow(address))
}

/**
 * Tell the site the new subscription; make one if the browser has not. If anything fails, the next page does it.
 *
 * The visitor may have signed out, or another one in, since notifications were turned on. The site's data say so: then
 * the site gets nothing, and the next page ends the subscription.
 */
async function renew(replacement) {
  const { push, csrf } = await ask("../page/")
  if (!push || push.known === "none") return
  const manager = self.registration.pushManager
  const existing = replacement ?? (await manager.getSubscription())
  const made = existing ?? (await manager.subscribe({ userVisibleOnly: true, applicationServerKey: push.key }))
  const { endpoint, keys } = made.toJSON()
  const headers = { "Content-Type": "application/json", "X-CSRFToken": csrf.token }
  await ask(push.subscribe, { method: "POST", headers, body: JSON.stringify({ endpoint, keys }) })
}

/** The site's answer to a request, as JSON. Throws if the site refuses, or a login page answers. */
async function ask(address, { headers, ...init } = {}) {
  const response = await fetch(new URL(address, self.registration.scope), {
    credentials: "same-origin",
    cache: "no-store",
    redirect: "error",
    signal: AbortSignal.timeout(ANSWER_MS),
    headers: { Accept: "application/json", ...headers },
    ...init,
  })
  if (!response.ok) throw new Error(`${address} answers with ${response.status}.`)
  return response.json()
}

/** The absolute address, if it can be a link of the site: an address that a task gives must not run as a script. */
function safeAddress(url) {
  if (typeof url !== "string" || !url) return null
  try {
    const address = new URL(url, self.registration.scope)
    return ["http:", "https:"].includes(address.protocol) ? address.href : null
  } catch {
    return null
  }
}
