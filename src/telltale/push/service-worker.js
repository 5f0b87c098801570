/**
 * The service worker of web push: shows a message as a notification, and opens its page at a click.
 *
 * It controls no page and caches nothing. The site sends `{id, text, url}`, encrypted for this browser.
 */
"use strict"

self.addEventListener("push", event => event.waitUntil(show(event.data)))
self.addEventListener("notificationclick", event => {
  event.notification.close()
  event.waitUntil(open(event.notification.data?.url))
})

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
