/**
 * The page's first request: a poll with the page's ticket, sent before the modules have arrived.
 *
 * `{% telltale %}` writes this into the page, as a module of its own that waits for no style sheet and holds up no parser.
 * Only a page that shows a task before its end sends it. `live/first-answer.js` takes the answer in; without it, or
 * if it fails, the page is as it was.
 */
const request = () => {
  const open = ":is(task-progress, task-status):is([state=queued], [state=running], [state=retrying])"
  if (!document.querySelector(open)) return false
  const { urls, ticket } = JSON.parse(document.getElementById("telltale-page").textContent)
  const answer = fetch(urls.live, {
    method: "POST",
    headers: { Accept: "application/json", Authorization: `Bearer ${ticket}`, "Content-Type": "application/json" },
    body: '{"wait_s": 0}',
    cache: "no-store",
    credentials: "omit",
    redirect: "manual",
    signal: AbortSignal.timeout(15_000),
  }).then(response => (response.ok ? response.text() : ""))
  globalThis.telltaleFirst = { ticket, answer: answer.catch(() => "") }
  return true
}
// The task may be further down in a page that is still arriving.
const isLoading = document.readyState === "loading"
if (!request() && isLoading) document.addEventListener("readystatechange", request, { once: true })
