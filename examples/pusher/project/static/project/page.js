// Pusher's JavaScript library, as it is. Hosts and ports point it at the stand-in, which this site serves itself.
const { key, user } = document.currentScript.dataset
const port = Number(location.port) || (location.protocol === "https:" ? 443 : 80)
const pusher = new Pusher(key, {
  cluster: "",
  wsHost: location.hostname,
  wsPort: port,
  wssPort: port,
  httpHost: location.hostname,
  httpPort: port,
  httpsPort: port,
  forceTLS: location.protocol === "https:",
  enableStats: false,
  channelAuthorization: { endpoint: "/pusher/auth/" },
})

const channel = pusher.subscribe(`private-user-${user}`)
channel.bind("pusher:subscription_succeeded", () => setStatus("Connected"))
channel.bind("pusher:subscription_error", () => setStatus("Not allowed. Sign in again."))
channel.bind("report.status", ({ text }) => showToast(text))
channel.bind("report.done", ({ text }) => showToast(text))
pusher.connection.bind("state_change", ({ current }) => current === "connected" || setStatus("Connecting…"))

const form = document.querySelector("#report")
form.onsubmit = event => {
  event.preventDefault()
  // The view answers 202 at once. What happens afterwards comes by the channel.
  fetch(form.action, { method: "POST", body: new FormData(form) }).then(
    response => showToast(response.ok ? "The report has begun." : "The report could not be started."),
    () => showToast("The server can't be reached."),
  )
}

function setStatus(text) {
  document.querySelector("#connection").textContent = text
}

function showToast(text) {
  const toast = document.createElement("p")
  toast.className = "toast"
  toast.textContent = text
  document.querySelector("#toasts").append(toast)
  setTimeout(() => toast.remove(), 6_000)
}
