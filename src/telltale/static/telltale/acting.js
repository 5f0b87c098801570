/**
 * Cancelling and retrying without leaving the page: the server's own forms, sent by `fetch`.
 */

/**
 * Send the form. Resolves to the task as the server has it now; rejects with its words, if it gave any.
 * @param {HTMLFormElement} form
 * @param {string} token for CSRF: newer than the form's own, perhaps
 * @returns {Promise<import("telltale/newest.js").Snapshot>}
 */
export async function send(form, token) {
  const answer = await fetch(form.action, {
    method: "POST",
    headers: { Accept: "application/json", "X-CSRFToken": token },
    credentials: "same-origin",
  })
  const isJson = answer.headers.get("Content-Type")?.includes("json")
  const told = isJson ? await answer.json() : {}
  if (!answer.ok) throw new Refusal(told.error ?? "")
  return told
}

/** The server's words for why not; empty if it gave none. */
export class Refusal extends Error {}
