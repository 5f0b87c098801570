// Drives pusher-js. The argument names the package, so that several versions can be installed: `node pusher_js.js pusher-js-7`.

import nacl from "tweetnacl"
import { registry, serve, write } from "./lines.js"

const { default: Pusher } = await import(process.argv[2] ?? "pusher-js")
const clients = registry()

const connect = ({ client, key, options = {}, isEncrypted = false }) => {
  const pusher = new Pusher(key, isEncrypted ? { ...options, nacl } : options)
  clients.add(client, pusher)
  const report = (kind, fields) => write({ client, kind, ...fields })
  pusher.connection.bind("state_change", ({ previous, current }) => report("state", { previous, current }))
  pusher.connection.bind("connected", data => report("connected", { data: data ?? null }))
  pusher.connection.bind("error", error => report("error", { error: plain(error) }))
  pusher.connection.bind("message", message => report("message", message))
  pusher.user?.bind_global((event, data) => report("user", { event, data }))
  pusher.user?.watchlist.bind_global((event, data) => report("watchlist", { event, data }))
}

/** Errors do not survive JSON: keep what pusher-js says about one. */
const plain = error => (error instanceof Error ? { message: error.message, ...error } : error)

const subscribe = ({ client, channel }) => {
  const subscribed = clients.get(client).subscribe(channel)
  subscribed.unbind_global()
  subscribed.bind_global((event, data) => write({ client, kind: "channel", channel, event, data: plain(data) ?? null }))
}

const members = ({ client, channel }) => {
  const { count, me, members } = clients.get(client).channel(channel).members
  return { count, me, members }
}

serve({
  connect,
  subscribe,
  members,
  /** As `subscribe`'s events, and with the metadata that pusher-js gives only to handlers of one event. */
  bind: ({ client, channel, event }) => {
    const report = (data, metadata) => write({ client, kind: "bound", channel, event, data, metadata: metadata ?? null })
    clients.get(client).channel(channel).bind(event, report)
  },
  unsubscribe: ({ client, channel }) => clients.get(client).unsubscribe(channel),
  trigger: ({ client, channel, event, data }) => clients.get(client).channel(channel).trigger(event, data),
  /** Sends what the library itself would not send. */
  send_event: ({ client, event, data, channel }) => clients.get(client).send_event(event, data, channel),
  signin: ({ client }) => clients.get(client).signin(),
  user: ({ client }) => clients.get(client).user.user_data ?? null,
  subscription_count: ({ client, channel }) => clients.get(client).channel(channel).subscriptionCount ?? null,
  is_subscribed: ({ client, channel }) => clients.get(client).channel(channel)?.subscribed ?? false,
  state: ({ client }) => clients.get(client).connection.state,
  socket_id: ({ client }) => clients.get(client).connection.socket_id ?? null,
  reconnect: ({ client }) => clients.get(client).connect(),
  disconnect: ({ client }) => clients.get(client).disconnect(),
  close: ({ client }) => {
    clients.get(client).disconnect()
    clients.remove(client)
  },
})
