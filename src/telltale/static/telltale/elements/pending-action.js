/**
 * The cancellation or retry that a person has asked for and the server has not confirmed yet.
 *
 * Until then, the page shows the task as it will be, so that a click is visible at once.
 */
import { pageText } from "telltale/elements/page-text.js"
import { csrfToken } from "telltale/page.js"
import { ActionFailed, ActionRefused, submitAction } from "telltale/requests.js"
/** @import { Live } from "telltale/live/live.js" */
/** @import { Snapshot } from "telltale/live/snapshots.js" */

/** What a new attempt resets, of what is shown of a task that waits. */
const NEW_ATTEMPT = {
  state: "queued",
  ended: false,
  cancel_requested: false,
  no_cancel: null,
  due_at: null,
  ahead: null,
  is_listening: null,
  missing_since: null,
}

export class PendingAction {
  #action
  #attempt
  #ended

  /**
   * @param {"cancel" | "retry"} action
   * @param {Snapshot} snapshot of the task, as it is now
   */
  constructor(action, { attempt, ended }) {
    this.#action = action
    this.#attempt = attempt
    this.#ended = ended
  }

  /**
   * Submit the form, and take in the answer. Resolves to whether the action needs no more waiting, and to the reason why
   * it failed, for people; empty if it did not.
   * @param {HTMLFormElement} form
   * @param {Live} live
   * @returns {Promise<{isSettled: boolean, error: string}>}
   */
  async carryOut(form, live) {
    try {
      const snapshot = await submitAction(form, csrfToken(live.page))
      live.receive({ tasks: [snapshot] })
      return { isSettled: this.#isConfirmedBy(snapshot), error: "" }
    } catch (error) {
      return { isSettled: true, error: reasonOf(error) }
    }
  }

  /**
   * Whether a snapshot of the task shows that the action is done, or no longer possible.
   * @param {Snapshot} snapshot
   */
  isDoneIn({ attempt, ended }) {
    return attempt > this.#attempt || ended !== this.#ended
  }

  /**
   * Whether the server's answer confirms the action. The task itself confirms a cancellation; a retry is a new
   * attempt already.
   * @param {Snapshot} answer
   */
  #isConfirmedBy({ attempt, ended, cancel_requested }) {
    return attempt > this.#attempt || ended || cancel_requested
  }

  /**
   * The snapshot as it will be once the server has done the action.
   * @param {Snapshot} snapshot
   * @returns {Snapshot}
   */
  applyTo(snapshot) {
    if (this.#action === "cancel") return { ...snapshot, cancel_requested: true }
    const progress = { fraction: null, current: null, total: null, unit: "", message: "", stage: "", step: 0, steps: null }
    return { ...snapshot, ...NEW_ATTEMPT, attempt: snapshot.attempt + 1, progress }
  }
}

/**
 * Why an action failed, for people.
 * @param {unknown} error
 */
function reasonOf(error) {
  if (error instanceof ActionRefused) return pageText().message("connection_ended")
  return (error instanceof ActionFailed && error.message) || pageText().message("unreachable")
}
