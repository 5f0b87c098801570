/** A stand-in for the class `Pusher` of pusher-js, as far as the transport uses it; the test is the service. */

class Emitter {
  #callbacks = []
  #global = []

  bind(event, callback) {
    this.#callbacks.push([event, callback])
  }

  unbind(event, callback) {
    this.#callbacks = this.#callbacks.filter(([e, c]) => e !== event || c !== callback)
  }

  bind_global(callback) {
    this.#global.push(callback)
  }

  unbind_all() {
    this.#callbacks = []
    this.#global = []
  }

  emit(event, data) {
    for (const callback of [...this.#global]) callback(event, data)
    for (const [bound, callback] of [...this.#callbacks]) if (bound === event) callback(data)
  }

  get isBound() {
    return this.#callbacks.length + this.#global.length > 0
  }
}

/** The class, with the clients that were made of it; `forbidden`: channels that can't be subscribed. */
export function fakePusher({ forbidden = [] } = {}) {
  return class FakePusher {
    static clients = []
    /** What was called, in order. */
    calls = []
    /** @type {Map<string, Emitter>} */
    channels = new Map()
    connection = Object.assign(new Emitter(), { state: "initialized" })

    constructor(key, options) {
      this.key = key
      this.options = options
      FakePusher.clients.push(this)
    }

    subscribe(name) {
      if (forbidden.includes(name)) throw new Error(`${name} needs encryption.`)
      this.calls.push(`subscribe ${name}`)
      if (!this.channels.has(name)) this.channels.set(name, new Emitter())
      return this.channels.get(name)
    }

    unsubscribe(name) {
      this.calls.push(`unsubscribe ${name}`)
      this.channels.delete(name)
    }

    connect() {
      this.calls.push("connect")
      if (this.connection.state !== "connected") this.become("connecting")
    }

    disconnect() {
      this.calls.push("disconnect")
      this.become("disconnected")
    }

    // The service's part

    become(current) {
      const previous = this.connection.state
      this.connection.state = current
      if (previous !== current) this.connection.emit("state_change", { previous, current })
    }

    succeed(name) {
      this.channels.get(name).emit("pusher:subscription_succeeded", {})
    }
  }
}
