// What the drivers share: commands come as lines of JSON on the standard input, answers and events go to the output.
import readline from "node:readline"

/** Write one line; the tests read `message` as JSON. */
export const write = message => process.stdout.write(JSON.stringify(message) + "\n")

/**
 * Run `commands[name](argument)` for each line `{"call": number, "command": name, ...argument}`.
 *
 * The answer is `{"call": number, "value": …}`, or `{"call": number, "error": {…}}` if the command throws.
 * The process ends with its input.
 */
export const serve = commands => {
  const lines = readline.createInterface({ input: process.stdin })
  lines.on("line", async line => {
    const { call, command, ...argument } = JSON.parse(line)
    try {
      write({ call, value: (await commands[command](argument)) ?? null })
    } catch (error) {
      const { name, message, status, body } = error
      write({ call, error: { name, message, status, body } })
    }
  })
  lines.on("close", () => process.exit(0))
}

/** Return an object that keeps named clients, and names the known ones if a test asks for another. */
export const registry = () => {
  const clients = new Map()
  return {
    add: (name, client) => clients.set(name, client),
    get: name => {
      if (!clients.has(name)) throw new Error(`There is no client ${name}: ${[...clients.keys()].join(", ")}`)
      return clients.get(name)
    },
    remove: name => clients.delete(name),
  }
}
