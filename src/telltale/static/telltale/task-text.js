/**
 * What people read about a task: a status line, a quiet line, how full its bar is. Pure.
 *
 * As `pages/task_text.py`, from the same messages (its `catalogue`, which the page brings); both are held to
 * `tests/traces/words.json`. Times in seconds, instants by the server's clock.
 *
 * @typedef {import("telltale/live/snapshots.js").Snapshot} Snapshot
 * @typedef {import("telltale/live/snapshots.js").Progress} Progress
 * @typedef {{status: string, quiet: string, filled: ?number, figure: string, valueText: string}} Telling
 * @typedef {{messages: Object<string, string>, plurals: Object<string, [number, ...string[]]>, rules: string[],
 *   group: string, decimal: string}} Catalogue
 */

const STILL_WAITING_S = 30
const BY_TIME = 0.95
const BEFORE_END = 0.99

export class Words {
  #catalogue

  /** @param {Catalogue} catalogue */
  constructor(catalogue) {
    this.#catalogue = catalogue
  }

  /** The message in the page's language. */
  say(key, values = {}) {
    return fill(this.#catalogue.messages[key] ?? key, values)
  }

  /** The message for `n`. Beyond the 200 numbers that were sent, the last two digits decide. */
  plural(key, n) {
    const [rule, ...forms] = this.#catalogue.plurals[key]
    const which = this.#catalogue.rules[rule][n < 200 ? n : 100 + (n % 100)]
    return fill(forms[which], { n: this.number(n) })
  }

  /** In groups of three, with one decimal where a small value is not whole. */
  number(value) {
    const tenths = Math.abs(value) < 100 ? round(value * 10) : round(value) * 10
    const whole = Math.floor(Math.abs(tenths) / 10)
    const tenth = Math.abs(tenths) % 10
    const text = whole.toLocaleString("en-US", { maximumFractionDigits: 0 }).replaceAll(",", this.#catalogue.group)
    return (tenths < 0 ? "-" : "") + (tenth ? `${text}${this.#catalogue.decimal}${tenth}` : text)
  }

  /**
   * What to show of `snapshot` at `now`.
   * @param {Snapshot} snapshot
   * @param {?string} health
   * @param {number} now
   * @returns {Telling}
   */
  tell(snapshot, health, now) {
    const share = filled(snapshot, now)
    const percent = share === null ? "" : this.say("percent", { n: this.number(Math.floor(share * 100)) })
    return {
      status: this.#status(snapshot, health, now),
      quiet: this.#quiet(snapshot, health, now),
      filled: share,
      // None where the bar is filled by time alone, and none at the end, which has its own words.
      figure: snapshot.progress.fraction != null && !snapshot.ended ? percent : "",
      valueText: this.#done(snapshot.progress) || percent,
    }
  }

  #status(snapshot, health, now) {
    const { state } = snapshot
    if (state === "failed") return snapshot.error || this.say("failed")
    if (snapshot.ended) return this.say(state)
    if (snapshot.cancel_requested) return this.say("stopping")
    if (state === "queued") return this.#waiting(snapshot, now)
    if (state === "retrying") {
      const { due_at } = snapshot
      return due_at != null && due_at > now
        ? this.say("retrying_in", { time: this.span(due_at - now) })
        : this.say("retrying")
    }
    if (state !== "running") return state // a server newer than this page: its word must do
    if (health && health !== "ok") return this.say(health)
    return this.#doing(snapshot.progress)
  }

  #waiting(snapshot, now) {
    const { due_at, is_listening } = snapshot
    if (due_at != null && due_at > now) return this.say("scheduled_in", { time: this.span(due_at - now) })
    if (is_listening === false) return this.say("no_worker")
    return this.say(waited(snapshot, now) > STILL_WAITING_S ? "still_waiting" : "waiting")
  }

  #doing(progress) {
    const { step, steps } = progress
    const what = progress.message || progress.stage || this.say("working")
    if (!step || (steps != null && steps < 2)) return what
    if (steps == null) return this.say("step", { step: this.number(step), what })
    return this.say("step_of", { step: this.number(step), steps: this.number(steps), what })
  }

  #quiet(snapshot, health, now) {
    const { progress, state } = snapshot
    if (snapshot.ended) return this.#ended(snapshot)
    if (snapshot.cancel_requested) return this.say("safe_point")
    if (state === "queued") {
      const seconds = waited(snapshot, now)
      const place = snapshot.ahead == null ? "" : snapshot.ahead ? this.plural("ahead", snapshot.ahead) : this.say("next")
      return joined([place, seconds > STILL_WAITING_S ? this.say("waiting_for", { time: this.span(seconds) }) : ""])
    }
    if (state === "retrying") return snapshot.error ?? ""
    if (health === "stalled") return this.say("heard_ago", { time: this.span(now - (snapshot.beat_at ?? now)) })
    const parts = [this.#done(progress)]
    if (health === "quiet") {
      parts.push(this.say("nothing_for", { time: this.span(now - (snapshot.moved_at ?? now)) }))
    } else if (health === "slow" && snapshot.usual_s && snapshot.started_at != null) {
      const times = { usual: this.about(snapshot.usual_s[0]), now: this.span(now - snapshot.started_at) }
      parts.push(this.say("usually_now", times))
    } else {
      parts.push(this.#left(snapshot, now))
    }
    if (snapshot.no_cancel) parts.push(this.say("no_cancel", { why: snapshot.no_cancel }))
    return joined(parts)
  }

  #ended(snapshot) {
    const { current, unit } = snapshot.progress
    if (snapshot.state === "succeeded") {
      if (snapshot.started_at == null || snapshot.ended_at == null) return ""
      const time = this.span(snapshot.ended_at - snapshot.started_at)
      if (current == null) return this.say("in_time", { time })
      return this.say("count_in_time", { count: this.#withUnit(this.number(current), unit), time })
    }
    const done = this.#done(snapshot.progress, false)
    const after = done ? this.say("after", { count: done }) : ""
    if (snapshot.state !== "failed") return after
    return joined([snapshot.reference ? this.say("reference", { code: snapshot.reference }) : "", after])
  }

  #left(snapshot, now) {
    if (snapshot.remaining_s != null) {
      const toldAt = Math.max(snapshot.moved_at ?? 0, snapshot.beat_at ?? 0) || now
      return this.say("left", { time: this.about(snapshot.remaining_s - Math.max(now - toldAt, 0)) })
    }
    return snapshot.usual_s ? this.say("usually_takes", { time: this.about(snapshot.usual_s[0]) }) : ""
  }

  /** 12,400 of 28,000 rows; 12,400 rows so far; or nothing. */
  #done(progress, openEnded = true) {
    const { current, total, unit } = progress
    if (current == null) return ""
    if (total) {
      return this.#withUnit(this.say("of", { current: this.number(current), total: this.number(total) }), unit)
    }
    const count = this.#withUnit(this.number(current), unit)
    return openEnded ? this.say("so_far", { count }) : count
  }

  #withUnit(count, unit) {
    return unit ? this.say("with_unit", { count, unit }) : count
  }

  /** A time that can be kept: in fives below a minute, then rounder and rounder. */
  about(seconds) {
    if (seconds < 5) return this.say("few_seconds")
    if (seconds <= 55) return this.plural("about_seconds", Math.ceil(seconds / 5) * 5)
    if (seconds < 90) return this.say("about_minute")
    if (seconds < 55 * 60) return this.plural("about_minutes", round(seconds / 60))
    if (seconds < 75 * 60) return this.say("about_hour")
    if (seconds < 105 * 60) return this.say("about_hour_and_half")
    if (seconds < 36 * 3600) return this.plural("about_hours", round(seconds / 3600))
    return this.plural("about_days", round(seconds / 86_400))
  }

  /** A time that has passed, or is known to come. */
  span(seconds) {
    if (seconds < 1) return this.say("moment")
    if (seconds < 90) return this.plural("seconds", Math.floor(seconds))
    if (seconds < 90 * 60) return this.plural("minutes", round(seconds / 60))
    if (seconds < 36 * 3600) return this.plural("hours", round(seconds / 3600))
    return this.plural("days", round(seconds / 86_400))
  }
}

/**
 * How full the bar is, 0 to 1; by the usual time where the task reports nothing; null while nothing is known.
 * @param {Snapshot} snapshot
 * @param {number} now
 * @returns {?number}
 */
export function filled(snapshot, now) {
  if (snapshot.state === "succeeded") return 1
  const { progress, usual_s, started_at } = snapshot
  if (progress.fraction != null) return Math.min(Math.max(progress.fraction, 0), BEFORE_END)
  if (snapshot.state !== "running") return 0
  if (progress.current == null && usual_s && usual_s[0] > 0 && started_at != null) {
    return Math.min(Math.max(now - started_at, 0) / usual_s[0], BY_TIME)
  }
  return null
}

/** Since it was asked for; 0 for a later attempt, of which only the first asking is known. */
const waited = (snapshot, now) => (snapshot.attempt === 1 ? now - Math.max(snapshot.created_at, snapshot.due_at ?? 0) : 0)

const round = value => Math.floor(value + 0.5)

const joined = parts => parts.filter(Boolean).join(" · ")

const fill = (template, values) => template.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole)
