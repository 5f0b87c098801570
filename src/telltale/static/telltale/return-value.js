/**
 * What a task returned. Only its owner may read that, so it is not part of a snapshot, and is fetched after the end.
 */
import { ANSWER_MS, limitedFetch } from "telltale/limited-fetch.js"
import { urlFor } from "telltale/page.js"
import { REDIRECT, isJson } from "telltale/refusal.js"
/** @import { Snapshot } from "telltale/live/snapshots.js" */
/** @import { Page } from "telltale/page.js" */

/**
 * The snapshot of an ended task with its `return_value`. Without it if the visitor may not read it, if a later attempt
 * has begun, or if the server can't be reached.
 * @param {{urls: Pick<Page["urls"], "task">}} page
 * @param {Snapshot} snapshot
 * @param {{fetch: typeof fetch}} [env]
 * @returns {Promise<Snapshot & {return_value?: any}>}
 */
export async function withReturnValue(page, snapshot, env = globalThis) {
  try {
    return await limitedFetch(
      urlFor(page.urls.task, snapshot.id),
      {
        headers: { Accept: "application/json" },
        credentials: "same-origin",
        cache: "no-store",
        redirect: REDIRECT,
      },
      { limitMs: ANSWER_MS, env, read: response => added(snapshot, response) },
    )
  } catch {
    return snapshot
  }
}

/**
 * @param {Snapshot} snapshot
 * @param {Response} response
 */
async function added(snapshot, response) {
  if (!response.ok || !isJson(response)) return snapshot
  const { attempt, return_value } = await response.json()
  return attempt === snapshot.attempt && return_value !== undefined ? { ...snapshot, return_value } : snapshot
}
