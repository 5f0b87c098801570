/**
 * The request for a task's timeline.
 *
 * @typedef {object} Moment a line of a task's timeline
 * @property {string} title
 * @property {string} detail
 * @property {string} error
 * @property {string} kind
 * @property {number | null} from_at in seconds since 1970
 * @property {number | null} until_at
 */
import { ANSWER_MS, limitedFetch } from "telltale/limited-fetch.js"
import { isJson, isRefusal } from "telltale/refusal.js"
import { GET_JSON } from "telltale/requests.js"

/**
 * Fetch the timeline of a task; null if the visitor may not see it. Rejects if the server can't be reached.
 * @param {string} url
 * @param {{fetch: typeof fetch}} [env]
 * @returns {Promise<{phase: string, moments: Moment[]} | null>}
 */
export async function fetchTimeline(url, env = globalThis) {
  return limitedFetch(url, GET_JSON, {
    limitMs: ANSWER_MS,
    env,
    read: async response => {
      if (isRefusal(response)) return null
      if (!response.ok || !isJson(response)) throw new Error(`The timeline was answered with ${response.status}.`)
      return response.json()
    },
  })
}
