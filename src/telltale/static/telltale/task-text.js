/**
 * The text that people read about a task: a status line, a detail line, and how full its bar is. Pure.
 *
 * Does the same as `pages/task_text.py`, with the same messages: the page contains the catalogue. Tests check both
 * against the cases in `tests/traces/task-text.json`. Durations are in seconds, times by the server's clock.
 *
 * @typedef {{label: string, status: string, detail: string, filled: number | null, figure: string, valueText: string,
 *   keepsRunning: boolean, borders: number[]}} TaskText
 * @typedef {{count: string, timeLeft: string}} Moving
 * @typedef {{messages: Object<string, string>, plurals: Object<string, [number, ...string[]]>, rules: string[], percent: string,
 *   group: string, decimal: string}} Catalogue
 */
import { mayBeLost } from "telltale/health.js"
/** @import { Health } from "telltale/health.js" */
/** @import { Progress, Snapshot } from "telltale/live/snapshots.js" */

/** Made once: a new one for each number, as `toLocaleString` makes it, is many times slower. */
const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 })
const STILL_WAITING_S = 30
/** For so long after its start, a bar without progress stays empty: the first count may be on its way. */
const NOTHING_KNOWN_S = 2
const MAX_BY_TIME = 0.95
const MAX_BEFORE_END = 0.99

/** The page's texts in its language: messages by key, numbers, durations, and the text of a task. */
export class Texts {
  #catalogue

  /** @param {Catalogue} catalogue */
  constructor(catalogue) {
    this.#catalogue = catalogue
  }

  /**
   * The message in the page's language, with `{name}` replaced by `values.name`.
   * @param {string} key
   * @param {Object<string, string>} [values]
   */
  message(key, values = {}) {
    return fill(this.#catalogue.messages[key] ?? key, values)
  }

  /**
   * The message for `n`. The catalogue has the forms for 0 to 199; for larger numbers the last two digits decide.
   * @param {string} key
   * @param {number} n
   * @param {Object<string, string>} [values] other values
   */
  plural(key, n, values = {}) {
    const [rule, ...forms] = this.#catalogue.plurals[key]
    const which = Number(this.#catalogue.rules[rule][n < 200 ? n : 100 + (n % 100)])
    return fill(forms[which], { n: this.number(n), ...values })
  }

  /**
   * The number with digits in groups of three, and one decimal below 100 if it is not whole.
   * @param {number} value
   */
  number(value) {
    const hasTenths = Math.abs(value) < 100
    const rounded = hasTenths ? round(value * 10) : round(value)
    // Not of a large number: ten times a number of sixteen digits is not exact.
    const tenth = hasTenths ? Math.abs(rounded) % 10 : 0
    const whole = hasTenths ? Math.floor(Math.abs(rounded) / 10) : Math.abs(rounded)
    const text = WHOLE.format(whole).replaceAll(",", this.#catalogue.group)
    return (rounded < 0 ? "-" : "") + (tenth ? `${text}${this.#catalogue.decimal}${tenth}` : text)
  }

  /**
   * The share as whole per cent, rounded down, as the page's language writes it: "44%" or "44 %".
   * @param {number} share 0 to 1
   */
  percentage(share) {
    return fill(this.#catalogue.percent, { n: this.number(Math.floor(share * 100)) })
  }

  /**
   * The text for `snapshot` at `now`.
   * @param {Snapshot} snapshot
   * @param {Health | null} health
   * @param {number} now
   * @param {Moving} [moving] the texts that change most often, if they are not to be the newest
   * @returns {TaskText}
   */
  describe(snapshot, health, now, moving = this.moving(snapshot, now)) {
    const share = filled(snapshot, now)
    const status = this.#status(snapshot, health, now)
    const isMeasured = share !== null && snapshot.progress.fraction != null
    const percent = isMeasured ? this.percentage(share) : ""
    return {
      label: this.label(snapshot),
      status,
      detail: this.#detail(snapshot, health, now, moving),
      filled: share,
      // Empty where the bar is filled by time alone, and after the end.
      figure: snapshot.ended ? "" : percent,
      valueText: this.#valueText(snapshot, status, percent),
      // A full bar has no parts any more.
      borders: snapshot.state === "succeeded" ? [] : snapshot.progress.borders ?? [],
      keepsRunning: keepsRunning(snapshot, health, now),
    }
  }

  /**
   * The label; one from the task's name if no character of it is visible; "Task" without a name.
   * @param {Pick<Snapshot, "label" | "name">} snapshot
   */
  label({ label, name }) {
    return VISIBLE.test(label ?? "") ? label : labelFromName(name ?? "") || this.message("task")
  }

  /**
   * The count of a running task and its time left, as they are now.
   * @param {Snapshot} snapshot
   * @param {number} now
   * @returns {Moving}
   */
  moving(snapshot, now) {
    return { count: this.#countText(snapshot.progress), timeLeft: this.#timeLeft(snapshot, now) }
  }

  /**
   * @param {Snapshot} snapshot
   * @param {Health | null} health
   * @param {number} now
   */
  #status(snapshot, health, now) {
    const { state } = snapshot
    if (state === "failed") return snapshot.error || this.message("failed")
    if (state === "succeeded" && snapshot.cancel_requested) return this.message("ran_on")
    if (snapshot.ended) return this.message(state)
    // Without a worker nothing stops the task either.
    if (health === "stalled") return this.message("stalled")
    if (mayBeLost(snapshot, now)) return this.message("may_be_lost")
    if (snapshot.cancel_requested) return this.message("cancelling")
    if (state === "queued") return this.#waitingStatus(snapshot, now)
    if (state === "retrying") {
      const { due_at } = snapshot
      return due_at != null && due_at > now
        ? this.message("retrying_in", { time: this.duration(due_at - now) })
        : this.message("retrying")
    }
    if (state !== "running") return state // Unknown state of a newer server: show its name.
    if (health && health !== "ok") return this.message(health)
    return this.#runningStatus(snapshot.progress)
  }

  /**
   * The bar's value for screen readers; without it they read a percentage, also where that is a guess.
   * @param {Snapshot} snapshot
   * @param {string} status
   * @param {string} percent empty unless the task reported it
   */
  #valueText({ state, progress }, status, percent) {
    const count = this.#countText(progress)
    if (state === "succeeded") {
      const isWhole = progress.current === progress.total && !hasSteps(progress)
      return (isWhole && count) || this.percentage(1)
    }
    if (hasSteps(progress)) return [percent, this.#stepNumber(progress), count].filter(Boolean).join(", ")
    return count || percent || (state === "failed" ? this.message("failed") : status)
  }

  /** @param {Progress} progress */
  #stepNumber({ step, steps }) {
    if (steps == null) return this.message("step_number", { step: this.number(step) })
    return this.message("step_number_of", { step: this.number(step), steps: this.number(steps) })
  }

  /**
   * @param {Snapshot} snapshot
   * @param {number} now
   */
  #waitingStatus(snapshot, now) {
    const { due_at, is_listening } = snapshot
    if (due_at != null && due_at > now) return this.message("scheduled_in", { time: this.duration(due_at - now) })
    if (is_listening === false) return this.message("no_worker")
    return this.message(waitedSeconds(snapshot, now) > STILL_WAITING_S ? "still_waiting" : "waiting")
  }

  /**
   * @param {Snapshot} snapshot
   * @param {number} now
   */
  #waited(snapshot, now) {
    const seconds = waitedSeconds(snapshot, now)
    if (seconds <= STILL_WAITING_S) return ""
    const time = this.duration(seconds)
    const isScheduled = (snapshot.due_at ?? 0) > snapshot.created_at
    return isScheduled ? this.message("due_ago", { time }) : this.message("asked_ago", { time })
  }

  /** @param {Progress} progress */
  #runningStatus(progress) {
    const { step, steps } = progress
    const activity = progress.message || progress.stage || this.message("working")
    if (!hasSteps(progress)) return activity
    if (steps == null) return this.message("step", { step: this.number(step), activity })
    return this.message("step_of", { step: this.number(step), steps: this.number(steps), activity })
  }

  /**
   * @param {Snapshot} snapshot
   * @param {Health | null} health
   * @param {number} now
   * @param {Moving} moving
   */
  #detail(snapshot, health, now, moving) {
    const { state } = snapshot
    if (snapshot.ended) return this.#endedDetail(snapshot)
    if (state === "running") return joined(this.#runningDetails(snapshot, health, now, moving))
    // A waiting task has no safe point: it is stopped at once.
    if (snapshot.cancel_requested) return ""
    if (state === "queued") {
      const place = snapshot.ahead == null ? "" : snapshot.ahead ? this.plural("ahead", snapshot.ahead) : this.message("next")
      return joined([place, this.#waited(snapshot, now)])
    }
    return snapshot.error ?? ""
  }

  /**
   * @param {Snapshot} snapshot
   * @param {Health | null} health
   * @param {number} now
   * @param {Moving} moving
   */
  #runningDetails(snapshot, health, now, moving) {
    // A clock without a value counts from the start, as for the health.
    const [movedAt, beatAt] = [snapshot.moved_at, snapshot.beat_at].map(at => at ?? snapshot.started_at ?? now)
    const quiet = () => this.message("no_progress_for", { time: this.duration(now - movedAt) })
    if (health === "stalled") {
      const lastContact = this.message("last_contact", { time: this.duration(now - beatAt) })
      return [lastContact, snapshot.cancel_requested ? this.message("asked_to_stop") : ""]
    }
    if (snapshot.cancel_requested) return [this.message("safe_point"), health === "quiet" ? quiet() : ""]
    const parts = [moving.count]
    if (health === "quiet") parts.push(quiet())
    else if (health === "slow" && snapshot.usual_s && snapshot.started_at != null) {
      const times = { usual: this.roughDuration(snapshot.usual_s[0]), now: this.duration(now - snapshot.started_at) }
      parts.push(this.message("usually_now", times))
    } else parts.push(moving.timeLeft)
    if (snapshot.no_cancel) parts.push(this.message("no_cancel", { reason: snapshot.no_cancel }))
    return parts
  }

  /** @param {Snapshot} snapshot */
  #endedDetail(snapshot) {
    if (snapshot.state === "succeeded") return this.#succeededDetail(snapshot)
    const hasReference = snapshot.state === "failed" && snapshot.reference
    const reference = hasReference ? this.message("reference", { code: snapshot.reference ?? "" }) : ""
    return joined([reference, ...this.#stopped(snapshot.progress, snapshot.state === "cancelled")])
  }

  /**
   * Where the task stopped. The count is named after its step, because alone it would look like the whole.
   * @param {Progress} progress
   * @param {boolean} isSaid whether the status says that it stopped
   */
  #stopped(progress, isSaid) {
    const count = this.#countText(progress, false)
    const after = count ? this.message("after_count", { count }) : ""
    if (!hasSteps(progress)) return [isSaid || !count ? after : this.message("stopped_after", { count })]
    const step = this.#stepNumber(progress)
    const named = progress.stage ? this.message("step_named", { step, stage: progress.stage }) : step
    return [isSaid ? this.message("in_step", { step: named }) : this.message("stopped_in", { step: named }), after]
  }

  /** @param {Snapshot} snapshot */
  #succeededDetail({ started_at, ended_at, progress }) {
    const { current, unit } = progress
    if (started_at == null || ended_at == null) return ""
    const time = this.duration(ended_at - started_at)
    // "1 in 3 seconds" says less than the time alone.
    const isOne = unit !== "" && current != null && this.number(current) === this.number(1)
    if (current == null || isOne || hasSteps(progress)) return this.message("took", { time })
    return this.message("count_in_time", { count: this.#withUnit(this.number(current), unit, current), time })
  }

  /**
   * @param {Snapshot} snapshot
   * @param {number} now
   */
  #timeLeft(snapshot, now) {
    if (snapshot.remaining_s != null) {
      const reportedAt = Math.max(snapshot.moved_at ?? 0, snapshot.beat_at ?? 0) || now
      const left = snapshot.remaining_s - Math.max(now - reportedAt, 0)
      return this.message("time_left", { time: this.durationRange(left, snapshot.remaining_spread ?? 0) })
    }
    return snapshot.usual_s ? this.message("usually_takes", { time: this.roughDuration(snapshot.usual_s[0]) }) : ""
  }

  /**
   * "12,400 of 28,000 rows", or without a total "12,400 rows so far"; empty if nothing was counted.
   * @param {Progress} progress
   * @param {boolean} [openEnded]
   */
  #countText(progress, openEnded = true) {
    const { current, total, unit } = progress
    if (current == null) return ""
    if (total) {
      const count = this.message("count_of_total", { current: this.number(current), total: this.number(total) })
      return this.#withUnit(count, unit, total)
    }
    const count = this.#withUnit(this.number(current), unit, current)
    return openEnded ? this.message("count_so_far", { count }) : count
  }

  /**
   * Add the unit. It is a plural, and its singular is not known, so one thing has none: "1 of 1".
   * @param {string} count
   * @param {string} unit
   * @param {number} counted
   */
  #withUnit(count, unit, counted) {
    return unit && this.number(counted) !== this.number(1) ? this.message("with_unit", { count, unit }) : count
  }

  /**
   * A rough duration: multiples of 5 seconds below a minute, then whole minutes, hours or days.
   * @param {number} seconds
   */
  roughDuration(seconds) {
    if (seconds < 5) return this.message("few_seconds")
    if (seconds <= 55) return this.plural("about_seconds", Math.ceil(seconds / 5) * 5)
    if (seconds < 90) return this.message("about_minute")
    if (seconds < 55 * 60) return this.plural("about_minutes", round(seconds / 60))
    if (seconds < 75 * 60) return this.message("about_hour")
    if (seconds < 105 * 60) return this.message("about_hour_and_half")
    if (seconds < 36 * 3600) return this.plural("about_hours", round(seconds / 3600))
    return this.plural("about_days", round(seconds / 86_400))
  }

  /**
   * A rough duration that errs by `spread` of it: a range, or an upper bound; without `spread`, one value.
   * @param {number} seconds
   * @param {number} spread
   */
  durationRange(seconds, spread) {
    const high = seconds * (1 + spread)
    if (spread <= 0 || seconds < 5 || high >= 36 * 3600) return this.roughDuration(seconds)
    if (high <= 60) return this.message("under_minute")
    const isShort = high <= 90 * 60
    const unit = isShort ? 60 : 3600
    const most = roundedTo(Math.ceil, high / unit)
    const least = roundedTo(Math.floor, (seconds * (1 - spread)) / unit)
    if (least <= 0) return isShort ? this.plural("up_to_minutes", most) : this.plural("up_to_hours", most)
    const values = { low: this.number(least) }
    return isShort ? this.plural("range_minutes", most, values) : this.plural("range_hours", most, values)
  }

  /**
   * An exact duration: a time that has passed, or one that is known in advance.
   * @param {number} seconds
   */
  duration(seconds) {
    if (seconds < 1) return this.message("moment")
    if (seconds < 90) return this.plural("seconds", Math.floor(seconds))
    if (seconds < 90 * 60) return this.plural("minutes", round(seconds / 60))
    if (seconds < 36 * 3600) return this.plural("hours", round(seconds / 3600))
    return this.plural("days", round(seconds / 86_400))
  }
}

/**
 * How full the bar is, 0 to 1, estimated from the usual duration where the task reports no progress; null if that is
 * unknown as well.
 * @param {Snapshot} snapshot
 * @param {number} now
 * @returns {number | null}
 */
export function filled(snapshot, now) {
  if (snapshot.state === "succeeded") return 1
  const { progress, usual_s, started_at } = snapshot
  if (progress.fraction != null) return Math.min(Math.max(progress.fraction, 0), MAX_BEFORE_END)
  if (snapshot.state !== "running") return 0
  if (progress.current == null && usual_s && usual_s[0] > 0 && started_at != null) {
    return Math.min(Math.max(now - started_at, 0) / usual_s[0], MAX_BY_TIME)
  }
  return started_at != null && now - started_at < NOTHING_KNOWN_S ? 0 : null
}

const VISIBLE = /[^\p{C}\p{Z}]/u

/**
 * `shop.tasks.import_contacts`, `ImportContacts`: "Import contacts". The same as `core/labels.py`.
 * @param {string} name
 */
function labelFromName(name) {
  const words = name.slice(name.lastIndexOf(".") + 1).replaceAll("_", " ").trim().split(/\s+/)
  const label = words.map(word => word.replace(/(?<=[a-z])[A-Z](?=[a-z])/g, letter => ` ${letter.toLowerCase()}`)).join(" ")
  return label.slice(0, 1).toUpperCase() + label.slice(1)
}

/**
 * Whether the count is that of a part of the work.
 * @param {Progress} progress
 */
const hasSteps = ({ step, steps }) => step > 0 && (steps == null || steps > 1)

/**
 * Whether the task goes on, as far as is known: it has not ended, is not asked to stop, and has its worker.
 * @param {Snapshot} snapshot
 * @param {Health | null} health
 * @param {number} now
 */
function keepsRunning(snapshot, health, now) {
  const isStopping = snapshot.ended || snapshot.cancel_requested
  return !isStopping && health !== "stalled" && !mayBeLost(snapshot, now)
}

/**
 * Seconds since the task was queued or due; 0 after the first attempt, since only that time is known.
 * @param {Snapshot} snapshot
 * @param {number} now
 */
const waitedSeconds = (snapshot, now) => (snapshot.attempt === 1 ? now - Math.max(snapshot.created_at, snapshot.due_at ?? 0) : 0)

/** @param {number} value */
const round = value => Math.floor(value + 0.5)

/**
 * An end of a range, rounded up or down to a multiple of 1, 5 or 10.
 * @param {(value: number) => number} rounded
 * @param {number} value
 */
function roundedTo(rounded, value) {
  const step = value <= 10 ? 1 : value <= 30 ? 5 : 10
  return rounded(value / step) * step
}

/** @param {string[]} parts */
const joined = parts => parts.filter(Boolean).join(" · ")

/**
 * @param {string} template
 * @param {Object<string, string>} values
 */
const fill = (template, values) => template.replace(/\{(\w+)\}/g, (placeholder, name) => values[name] ?? placeholder)
