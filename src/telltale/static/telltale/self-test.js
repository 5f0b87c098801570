/**
 * The self-test: examines the way between this browser and the site. It imports nothing, so it also runs where the
 * other modules do not arrive. It uses the browser's own functions, to find what the client's fallbacks hide.
 *
 * The tests of the transports each open a connection, have the site publish an event (as a request or a task does), and
 * wait for it there.
 */

/** The limit for an answer of the site, or for a connection to open. */
const CONNECT_MS = 8_000
/** The limit for an event to arrive. */
const EVENT_MS = 6_000
/** How long the server may hold the long poll: less than `EVENT_MS`. */
const HOLD_S = 6
const BEGIN_MS = 1_000

/**
 * @typedef {{state: "works" | "problem" | "note", text: string, fix?: string}} Finding `fix`: the setting to change
 *
 * @typedef {object} PageData
 * @property {string} topic this page's own
 * @property {string} ticket for the topic
 * @property {string} csrf
 * @property {boolean} has_broker
 * @property {{live: string, publish: string, modules: string[]}} urls
 */

/** @type {PageData} */
const data = JSON.parse(document.querySelector("#telltale-self-test")?.textContent ?? "{}")

/** @type {SecurityPolicyViolationEvent[]} what the page's policy has blocked */
const violations = []
document.addEventListener("securitypolicyviolation", event => violations.push(event))

/** @type {Map<string, boolean>} whether an event arrived, by the name of the transport that was connected */
const arrivals = new Map()
/** Whether the server can hold connections open; known after the test of requests. */
let canHold = true
/** How many events were published. The number of an event is its mark. */
let marks = 0

/** A test has found a problem, which the message names. */
class Failed extends Error {}

/** @param {unknown} error */
const messageOf = error => (error instanceof Error ? error.message : String(error))

/** @param {unknown} error @param {string} fix @returns {Finding} */
const problemOf = (error, fix) => ({ state: "problem", text: messageOf(error), fix })

/**
 * Settle as the promise does; reject with `problem` after the time.
 * @template T
 * @param {number} ms
 * @param {Promise<T>} promise
 * @param {string} problem
 * @returns {Promise<T>}
 */
async function within(ms, promise, problem) {
  let timer = 0
  const late = new Promise((_resolve, reject) => {
    timer = window.setTimeout(() => reject(new Failed(problem)), ms)
  })
  try {
    return /** @type {T} */ (await Promise.race([promise, late]))
  } finally {
    clearTimeout(timer)
  }
}

/** Have the site publish an event; returns its mark. */
async function publish() {
  const mark = ++marks
  const response = await within(CONNECT_MS, fetch(data.urls.publish, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRFToken": data.csrf },
    body: JSON.stringify({ topic: data.topic, mark }),
  }), "The site does not answer.")
  if (!response.ok) throw new Failed(`The site answers a POST with the status ${response.status}.`)
  return mark
}

/**
 * Whether the message has the event with this mark.
 * @param {any} message
 * @param {number} mark
 */
const hasMark = (message, mark) => (message.events ?? []).some((/** @type {any} */ event) => event.data?.mark === mark)

/** @param {number} since */
const msSince = since => `${Math.round(performance.now() - since)} ms`

/**
 * Have an event published, and wait for it. Rejects with `Failed` if it does not arrive.
 * @param {string} name of the transport
 * @param {(mark: number) => Promise<unknown>} arrival resolves when the event with this mark has arrived
 * @returns {Promise<string>} a text that says how long it took
 */
async function roundTrip(name, arrival) {
  arrivals.set(name, false)
  const began = performance.now()
  const mark = await publish()
  await within(EVENT_MS, arrival(mark), "It connects, but an event of the site did not arrive.")
  arrivals.set(name, true)
  return `An event arrived after ${msSince(began)}.`
}

/**
 * @param {Record<string, string>} headers
 * @param {unknown} [body]
 * @param {AbortSignal} [signal]
 */
function askLive(headers, body, signal) {
  return fetch(data.urls.live, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${data.ticket}`, ...headers },
    body: JSON.stringify(body ?? {}),
    signal,
    cache: "no-store",
  })
}

/**
 * Why the live address does not serve; null if it does.
 * @param {Response} response
 * @returns {Finding | null}
 */
function refusal(response) {
  if (response.redirected || response.headers.get("Content-Type")?.startsWith("text/html")) {
    return {
      state: "problem",
      text: `The live address answers with a page (${response.status}, ${response.url}).`,
      fix: "A login wall or the proxy's own page stands before it: docs/login-walls.md.",
    }
  }
  if (response.ok) return null
  const fixes = /** @type {Record<number, string>} */ ({
    401: "One SECRET_KEY for the site and the live server.",
    403: "ALLOWED_HOSTS, and the header Host that the proxy passes on (docs/live-server.md).",
    404: "The proxy's location of the live address, and the prefix of telltale.urls (docs/prefixes.md).",
    429: "CONNECTIONS_PER_ADDRESS, or the client's address that the proxy passes on.",
    502: "The live server does not run, or the proxy has another address for it.",
    503: "The server is being restarted. Load this page again.",
  })
  return {
    state: "problem",
    text: `The live address answers with the status ${response.status}.`,
    fix: fixes[response.status] ?? "The log of the server.",
  }
}

/** @returns {Promise<Finding>} */
async function testModules() {
  const failed = []
  for (const url of data.urls.modules) {
    try {
      const response = await within(CONNECT_MS, fetch(url), "It did not arrive.")
      const type = response.headers.get("Content-Type") ?? "no type"
      if (!response.ok || !/javascript/.test(type)) failed.push(`${url}: ${response.status}, ${type}`)
    } catch (error) {
      failed.push(`${url}: ${messageOf(error)}`)
    }
  }
  if (!failed.length) return { state: "works", text: `${data.urls.modules.length} arrived, with the right type.` }
  return {
    state: "problem",
    text: failed.slice(0, 5).join("; "),
    fix: "manage.py collectstatic, STATIC_URL, and the type text/javascript. For files of another origin also the header Access-Control-Allow-Origin (docs/static-files.md).",
  }
}

/** @returns {Promise<Finding>} */
async function testRequests() {
  const began = performance.now()
  const response = await within(CONNECT_MS, askLive({ Accept: "application/json" }, { wait_s: 0 }), "The live address does not answer.")
  const problem = refusal(response)
  if (problem) return problem
  const answer = await response.json()
  canHold = !(answer.poll_after_s > 0)
  const skew = Math.abs(Date.now() / 1000 - answer.now)
  const clock = skew > 5 ? ` This device's clock is ${Math.round(skew)} s off; pages measure that, and show the right times.` : ""
  return { state: "works", text: `The ticket is accepted, after ${msSince(began)}.${clock}` }
}

/** @type {Finding} */
const CANNOT_HOLD = {
  state: "note",
  text: "Not tried: this server answers each request at once (WSGI), so pages ask every few seconds.",
  fix: "For live updates: serve by ASGI with telltale.asgi, or run manage.py telltale serve (docs/live-server.md).",
}

/** @returns {Promise<Finding>} */
async function testWebSocket() {
  if (!canHold) return CANNOT_HOLD
  const url = new URL(data.urls.live, location.href)
  url.protocol = url.protocol.replace("http", "ws")
  const socket = new WebSocket(url)
  /** @type {any[]} */
  const received = []
  /** @type {((message: any) => void)[]} */
  const listeners = []
  socket.onmessage = event => {
    received.push(JSON.parse(event.data))
    listeners.forEach(listener => listener(received.at(-1)))
  }
  /**
   * The first message that matches, also if it has arrived already.
   * @param {(message: any) => boolean} isIt
   */
  const first = isIt => new Promise(resolve => {
    listeners.push(message => isIt(message) && resolve(message))
    if (received.some(isIt)) resolve(received.find(isIt))
  })
  try {
    await within(CONNECT_MS, new Promise((resolve, reject) => {
      socket.onopen = resolve
      socket.onerror = () => reject(new Failed("No WebSocket opens."))
    }), "No WebSocket opens.")
    const hello = first(message => message.type === "hello" || message.type === "bye")
    socket.send(JSON.stringify({ type: "hello", v: 1, ticket: data.ticket }))
    const answer = await within(CONNECT_MS, hello, "It opens, and then nothing arrives.")
    if (answer.type === "bye") throw new Failed(`The server closes it: ${answer.reason}.`)
    return { state: "works", text: await roundTrip("WebSocket", mark => first(message => hasMark(message, mark))) }
  } catch (error) {
    return problemOf(error, "nginx: proxy_http_version 1.1, and the headers Upgrade and Connection (docs/live-server.md). Pages use a stream meanwhile.")
  } finally {
    socket.close()
  }
}

/**
 * Read messages of a stream until one matches. Rejects if the stream ends before.
 * @param {ReadableStreamDefaultReader<Uint8Array>} reader
 * @param {(message: any) => boolean} isIt
 */
async function readUntil(reader, isIt) {
  const decoder = new TextDecoder()
  let text = ""
  while (true) {
    const { value, done } = await reader.read()
    if (done) throw new Failed("The stream ends.")
    text += decoder.decode(value, { stream: true })
    const lines = text.split("\n")
    text = lines.pop() ?? ""
    for (const line of lines) {
      if (line.startsWith("data:") && isIt(JSON.parse(line.slice(5)))) return
    }
  }
}

/** @returns {Promise<Finding>} */
async function testStream() {
  if (!canHold) return CANNOT_HOLD
  const abort = new AbortController()
  const buffered = "The head or the first event does not arrive while the stream is open: a proxy keeps it back."
  try {
    const response = await within(CONNECT_MS, askLive({ Accept: "text/event-stream" }, {}, abort.signal), buffered)
    const problem = refusal(response)
    if (problem) return problem
    const coding = response.headers.get("Content-Encoding")
    if (coding) throw new Failed(`The stream is compressed (${coding}), so its events are kept back.`)
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader()
    await within(CONNECT_MS, readUntil(reader, message => message.type === "hello"), buffered)
    return { state: "works", text: await roundTrip("stream", mark => readUntil(reader, message => hasMark(message, mark))) }
  } catch (error) {
    return problemOf(error, "nginx: proxy_buffering off, and no gzip for text/event-stream (docs/live-server.md). Pages ask in a loop meanwhile.")
  } finally {
    abort.abort()
  }
}

/** @returns {Promise<Finding>} */
async function testLongPoll() {
  if (!canHold) return CANNOT_HOLD
  const abort = new AbortController()
  try {
    const response = askLive({ Accept: "application/json" }, { wait_s: HOLD_S }, abort.signal)
    // Nothing says when the server has begun to listen for it.
    await new Promise(resolve => setTimeout(resolve, BEGIN_MS))
    const text = await roundTrip("long poll", async mark => {
      const answer = await (await response).json()
      if (!hasMark(answer, mark)) throw new Failed("The answer came, without the event.")
    })
    return { state: "works", text }
  } catch (error) {
    return problemOf(error, "The proxy's time limits: a request may wait 25 s (docs/live-server.md).")
  } finally {
    abort.abort()
  }
}

/** @returns {Promise<Finding>} */
async function testBroker() {
  if (!arrivals.size) return { state: "note", text: "Not tried: no connection could be opened." }
  if ([...arrivals.values()].includes(true)) return { state: "works", text: "Events of the site's process reach the process with the connection." }
  return {
    state: "problem",
    text: "No event arrived by any connection, so updates come from the database alone, seconds later.",
    fix: data.has_broker
      ? "One service in TELLTALE[\"BROKER\"] of all processes (docs/brokers.md). manage.py telltale doctor says more."
      : "TELLTALE[\"BROKER\"] is empty (docs/brokers.md).",
  }
}

/** @returns {Promise<Finding>} */
async function testPolicy() {
  if (!violations.length) return { state: "works", text: "It blocked nothing of this page." }
  const named = violations.map(violation => `${violation.effectiveDirective}: ${violation.blockedURI || "inline"}`)
  return {
    state: "problem",
    text: [...new Set(named)].slice(0, 5).join("; "),
    fix: "docs/content-security-policy.md has a policy under which all works.",
  }
}

/** @returns {Promise<Finding>} */
async function testHttp() {
  const entries = /** @type {PerformanceResourceTiming[]} */ (performance.getEntriesByType("resource"))
  const version = entries.filter(entry => entry.name.includes(data.urls.live)).at(-1)?.nextHopProtocol ?? ""
  if (version !== "http/1.1" || arrivals.get("WebSocket")) {
    return { state: "works", text: `${version || "Unknown version"}. ${arrivals.get("WebSocket") ? "WebSockets are not counted among a site's connections." : ""}`.trim() }
  }
  return {
    state: "note",
    text: "HTTP/1.1 without WebSockets: a browser opens six connections to a site, for all tabs together.",
    fix: "HTTP/2 at the proxy, or let WebSockets through. Browsers with navigator.locks share one stream between a person's tabs.",
  }
}

/** @returns {Promise<Finding>} */
async function testStorage() {
  const missing = []
  try {
    localStorage.setItem("telltale-self-test", "1")
    localStorage.removeItem("telltale-self-test")
  } catch {
    missing.push("localStorage (a message may be shown by two tabs if one loses the server)")
  }
  if (!("BroadcastChannel" in window)) missing.push("BroadcastChannel (tabs do not share what they know)")
  if (!navigator.locks) missing.push("navigator.locks (tabs do not share a stream)")
  if (!window.isSecureContext) missing.push("a secure context (no notifications: the site needs HTTPS)")
  return missing.length
    ? { state: "note", text: `Missing: ${missing.join("; ")}.` }
    : { state: "works", text: "All that pages use is there." }
}

/** @type {[string, () => Promise<Finding>][]} */
const TESTS = [
  ["Modules", testModules],
  ["Requests to the live address", testRequests],
  ["WebSocket", testWebSocket],
  ["Event stream", testStream],
  ["Long poll", testLongPoll],
  ["Broker", testBroker],
  ["HTTP", testHttp],
  ["Content security policy", testPolicy],
  ["This browser", testStorage],
]

/**
 * Run a test; an error of its own is a problem too.
 * @param {() => Promise<Finding>} test
 * @returns {Promise<Finding>}
 */
async function run(test) {
  try {
    return await test()
  } catch (error) {
    return problemOf(error, "The browser's console and network panel show the request.")
  }
}

/**
 * Add a row for a test; returns the function that shows its finding there.
 * @param {Element} list
 * @param {string} name
 */
function addRow(list, name) {
  const row = document.createElement("li")
  const [title, text, fix] = [document.createElement("span"), document.createElement("p"), document.createElement("p")]
  title.textContent = name
  text.textContent = "Testing…"
  fix.dataset.fix = ""
  fix.hidden = true
  row.append(title, text, fix)
  list.append(row)
  return (/** @type {Finding} */ finding) => {
    row.dataset.state = finding.state
    text.textContent = finding.text
    fix.hidden = !finding.fix
    fix.textContent = finding.fix ?? ""
  }
}

async function main() {
  const find = (/** @type {string} */ selector) => /** @type {HTMLElement} */ (document.querySelector(selector))
  const summary = find("[data-summary]")
  const list = find("[data-findings]")
  /** @type {(Finding & {test: string})[]} */
  const findings = []
  for (const [name, test] of TESTS) {
    summary.textContent = `Testing: ${name} (${findings.length + 1} of ${TESTS.length})`
    const show = addRow(list, name)
    const finding = await run(test)
    show(finding)
    findings.push({ test: name, ...finding })
  }
  const problems = findings.filter(finding => finding.state === "problem").length
  summary.textContent = problems === 0 ? "All works." : problems === 1 ? "1 problem." : `${problems} problems.`
  find("[data-report] pre").textContent = JSON.stringify({ page: location.href, agent: navigator.userAgent, findings }, null, 2)
  find("[data-report]").hidden = false
}

main()
