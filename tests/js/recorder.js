/** The options of a transport, which record the messages and the ends that the transport reports. */

export class Recorder {
  messages = []
  ends = 0

  options = {
    url: "https://site.example/live/",
    ticket: () => "T",
    have: () => ({ a: [1, false, 2] }),
    seen: () => ["n1"],
    onMessage: message => this.messages.push(message),
    onEnd: () => (this.ends += 1),
  }
}

/** Resolves once the condition holds; fails after 20 s. */
export const until = async condition => {
  const giveUpAt = Date.now() + 20_000
  while (!condition()) {
    if (Date.now() > giveUpAt) throw new Error(`Waited in vain: ${condition}`)
    await wait()
  }
}

export const wait = (ms = 5) => new Promise(resolve => setTimeout(resolve, ms))
