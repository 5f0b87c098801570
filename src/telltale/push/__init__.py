"""Web push: notices that no page has shown are sent to the person's browser, also when no page of the site is open.

`options` reads the setting `PUSH`; `sender` encrypts and sends one message; `delivery` claims notices and sends them;
`prompt` does that soon after a notice came, in the process in which it came. `service-worker.js` shows the messages.
Only `sender` needs `pywebpush`, which is imported when something is sent.
"""
