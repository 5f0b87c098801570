// Drives `pusher`, the server library for node. A client is a `Pusher` object; answers are statuses and JSON bodies.

import Pusher from "pusher"
import { registry, serve } from "./lines.js"

const clients = registry()

const answer = async response => ({ status: response.status, body: await response.json() })

serve({
  connect: ({ client, options }) => {
    clients.add(client, new Pusher(options))
  },
  trigger: async ({ client, channels, event, data, params }) =>
    answer(await clients.get(client).trigger(channels, event, data, params)),
  trigger_batch: async ({ client, batch }) => answer(await clients.get(client).triggerBatch(batch)),
  send_to_user: async ({ client, user, event, data }) => answer(await clients.get(client).sendToUser(user, event, data)),
  terminate: async ({ client, user }) => answer(await clients.get(client).terminateUserConnections(user)),
  get: async ({ client, path, params }) => answer(await clients.get(client).get({ path, params })),
  post: async ({ client, path, body }) => answer(await clients.get(client).post({ path, body })),
  authorize: ({ client, socket_id, channel, presence }) =>
    clients.get(client).authorizeChannel(socket_id, channel, presence),
  authenticate: ({ client, socket_id, user }) => clients.get(client).authenticateUser(socket_id, user),
  webhook: ({ client, headers, body }) => {
    const webhook = clients.get(client).webhook({ headers, rawBody: body })
    return webhook.isValid() ? { events: webhook.getEvents(), time_ms: webhook.getTime().getTime() } : null
  },
  close: ({ client }) => clients.remove(client),
})
