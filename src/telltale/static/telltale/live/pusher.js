/**
 * The transport by a Pusher service: finds pusher-js, and opens connections with it.
 *
 * The library is the page's own: a script element that sets the global `Pusher`, or the address in the setting
 * `PUSHER_JS`. Without it, other transports are used.
 */
import { Authorizer } from "telltale/live/pusher-auth.js"
import { PusherConnection } from "telltale/live/pusher-connection.js"
/** @import { Client } from "telltale/live/pusher-connection.js" */
/** @import { Open, Transport } from "telltale/live/transports.js" */
/** @import { Page } from "telltale/page.js" */

/** When pusher-js reports that the service can't be reached: after its first attempts by HTTP. */
const UNAVAILABLE_MS = 7_000

/**
 * @typedef {object} Service what the page knows of the Pusher service
 * @property {string} key of the site's app
 * @property {Object<string, any>} options of pusher-js
 * @property {string} auth the address of the view that signs subscriptions
 * @property {string | null} script the address of pusher-js; null if the page loads it itself
 *
 * @typedef {new (key: string, options: object) => Client} PusherClass
 */

/**
 * The transport of a page that listens to this service.
 * @param {Service} service
 * @param {Pick<Page, "csrf">} page
 * @param {(service: Service) => Promise<PusherClass | null>} [find] finds pusher-js
 * @returns {Transport}
 */
export function pusherTransport(service, page, find = findPusher) {
  const authorizer = new Authorizer(service.auth, page)
  /** @type {Client | null} one for the page: pusher-js keeps each for ever */
  let client = null

  const findClient = async () => {
    const Pusher = client ? null : await find(service)
    if (Pusher) {
      const channelAuthorization = { customHandler: authorizer.authorize }
      client ??= new Pusher(service.key, { unavailableTimeout: UNAVAILABLE_MS, ...service.options, channelAuthorization })
    }
    if (!client) throw new Error("telltale: this page has no pusher-js.")
    return client
  }

  /** @type {Open} */
  const pusher = (options, env) => {
    authorizer.env = env
    const connection = new PusherConnection(options, env, authorizer)
    findClient().then(
      found => connection.open(found),
      () => connection.end(),
    )
    return connection
  }
  return pusher
}

/**
 * The class `Pusher` that the page has loaded, or that the address of the service's script gives.
 * @param {Service} service
 * @returns {Promise<PusherClass | null>}
 */
async function findPusher({ script }) {
  const page = /** @type {{Pusher?: PusherClass}} */ (globalThis)
  if (page.Pusher || !script) return page.Pusher ?? null
  // The library's file for script elements sets the global name; one for bundlers has a default export.
  const module = await import(script)
  return module.default ?? page.Pusher ?? null
}
