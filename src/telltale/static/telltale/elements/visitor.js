/** Whose the content of this page is. */
import { readPage } from "telltale/page.js"
/** @import { Live } from "telltale/live/live.js" */

/**
 * Whether the topic is one of the visitor's. A soft navigation may sign in another visitor, and brings the data of
 * the new page.
 * @param {Live} live the page's
 * @param {string} topic
 */
export function isForVisitor(live, topic) {
  const { ticket, topics } = readPage()
  return ticket === live.page.ticket || topics.includes(topic)
}
