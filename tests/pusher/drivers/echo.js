// Drives laravel-echo over pusher-js. `method` is the method of Echo that gives a channel: channel, private, join, …

import Echo from "laravel-echo"
import Pusher from "pusher-js"
import nacl from "tweetnacl"
import { registry, serve, write } from "./lines.js"

const clients = registry()

const connect = ({ client, options }) => {
  const echo = new Echo({ ...options, Pusher, nacl, withoutInterceptors: true })
  clients.add(client, echo)
  const report = (kind, fields) => write({ client, kind, ...fields })
  echo.connector.pusher.connection.bind("state_change", ({ previous, current }) => report("state", { previous, current }))
  echo.connector.pusher.connection.bind("error", error => report("error", { error }))
}

const subscribe = ({ client, method, channel }) => {
  const report = event => data => write({ client, kind: "channel", channel, event, data: data ?? null })
  const subscribed = clients.get(client)[method](channel)
  subscribed.subscribed(report("subscribed")).error(report("error"))
  if (method === "join") subscribed.here(report("here")).joining(report("joining")).leaving(report("leaving"))
}

const channelOf = ({ client, method, channel }) => clients.get(client)[method](channel)

serve({
  connect,
  subscribe,
  /** `event` as a site writes it: `X` is `App\Events\X`, `.x` is exactly `x`. */
  listen: ({ event, ...where }) => {
    channelOf(where).listen(event, data => write({ client: where.client, kind: "heard", event, data }))
  },
  listen_for_whisper: ({ event, ...where }) => {
    channelOf(where).listenForWhisper(event, data => write({ client: where.client, kind: "whisper", event, data }))
  },
  whisper: ({ event, data, ...where }) => {
    channelOf(where).whisper(event, data)
  },
  leave: ({ client, channel }) => clients.get(client).leave(channel),
  socket_id: ({ client }) => clients.get(client).socketId() ?? null,
  close: ({ client }) => {
    clients.get(client).disconnect()
    clients.remove(client)
  },
})
