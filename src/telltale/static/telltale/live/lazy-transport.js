/** A transport whose module is loaded at its first use. */
/** @import { OpenTransport, Transport, TransportOptions } from "telltale/live/transports.js" */
/** @import { Environment } from "telltale/live/live.js" */

/**
 * If the load fails, the connection ends. `more`: properties of the transport that are needed before its module is
 * loaded.
 * @param {() => Promise<Transport>} load
 * @param {{establishMs?: number, isHeld?: boolean}} [more]
 * @returns {Transport}
 */
export function lazyTransport(load, more = {}) {
  /** @type {Promise<Transport> | null} */
  let loading = null
  const loaded = () => (loading ??= load())

  /**
   * @param {TransportOptions} options
   * @param {Environment} env
   * @returns {OpenTransport}
   */
  const open = (options, env) => {
    let isClosed = false
    /** @type {OpenTransport | null} */
    let transport = null
    const start = async () => {
      const openNow = await loaded()
      if (!isClosed) transport = openNow(options, env)
    }
    start().catch(() => {
      // A module that could not be loaded is requested again by the next connection.
      if (!transport) loading = null
      if (!isClosed) options.onEnd()
    })
    return {
      // A transport that is not open yet reads the ticket when it opens.
      updateTicket: (ticket, isChanged) => transport?.updateTicket(ticket, isChanged) ?? true,
      pollNow: () => transport?.pollNow?.(),
      close() {
        isClosed = true
        transport?.close()
      },
    }
  }
  return Object.assign(open, more)
}
