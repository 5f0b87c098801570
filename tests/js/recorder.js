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

export const wait = (ms = 5) => new Promise(resolve => setTimeout(resolve, ms))
