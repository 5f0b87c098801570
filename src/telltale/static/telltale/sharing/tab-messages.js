/**
 * The messages between the tabs of one person, and the part of a server's message that a tab may see. Pure.
 *
 * The ticket of the shared connection covers what all tabs follow. A tab sees what its own ticket covers. Events and
 * notices name their topics. A task whose topic is in the shared ticket came by that topic, any other by the person's
 * own.
 *
 * @typedef {{type: "join", from: string, topics: string[]}} Join a tab follows these topics; repeated as a sign of life
 * @typedef {{type: "leave", from: string}} Leave
 * @typedef {{type: "lead", from: string, topics: string[], isLive: boolean}} Lead the answer: what the ticket covers
 * @typedef {{type: "message", from: string, topics: string[], message: ServerMessage}} Relayed
 * @typedef {{type: "end", from: string}} End the shared connection has ended
 * @typedef {Join | Leave | Lead | Relayed | End} TabMessage
 */
/** @import { ServerMessage } from "telltale/live/protocol.js" */

/**
 * The part of a message that a tab may see.
 * @param {ServerMessage} message
 * @param {Iterable<string>} shared the topics of the ticket by which the message came
 * @param {(topic: string) => boolean} isCovered whether the tab's own ticket covers the topic
 * @returns {ServerMessage}
 */
export function visiblePart(message, shared, isCovered) {
  const named = new Set(shared)
  const isVisible = (/** @type {string} */ id) => !named.has(`task:${id}`) || isCovered(`task:${id}`)
  const { tasks, notices, events, corrected, ...rest } = message
  return {
    ...rest,
    ...(tasks && { tasks: tasks.filter(({ id }) => isVisible(id)) }),
    ...(notices && { notices: notices.filter(({ topic }) => isCovered(topic)) }),
    ...(events && { events: events.filter(({ topic }) => isCovered(topic)) }),
    ...(corrected && { corrected: corrected.filter(isVisible) }),
  }
}
