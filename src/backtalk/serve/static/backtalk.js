(() => {
  const me = document.currentScript, at = new URL(me.src).origin
  const send = async (id, said, user, key = Date.now() + "-" + Math.random(), tries = 5) => {
    const headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    if (me.dataset.key) headers.Authorization = "Bearer " + me.dataset.key
    const body = JSON.stringify({interaction: id, user, ...said})
    try {
      const got = await fetch(at + "/v1/feedback", {method: "POST", keepalive: true, headers, body})
      if (got.ok) return got.json()
      if (got.status < 500 && got.status != 429) tries = 0
      throw Error(got.status)
    } catch (error) {
      if (tries < 2) throw error
      await new Promise(go => setTimeout(go, 1e3 * (6 - tries)))
      return send(id, said, user, key, tries - 1)
    }
  }
  const attach = on => {
    const {backtalk: id, user} = on.dataset, text = on.innerText
    const add = (to, tag, label, name, act) => {
      const made = to.appendChild(document.createElement(tag))
      made.textContent = label
      made.ariaLabel = made.title = name
      made.onclick = act
      return made
    }
    const bar = document.createElement("span")
    const tell = said => send(id, said, user).then(
      () => bar.dataset.sent = 1, () => bar.dataset.failed = 1)
    const write = (kind, name, start) => {
      const box = add(bar, "div", "", name), area = add(box, "textarea", start, name)
      area.focus()
      add(box, "button", "✓", "Send", () => {
        if (area.value != start) tell({[kind]: area.value})
        box.remove()
      })
    }
    add(bar, "button", "👍", "Good", () => tell({thumb: "up"}))
    add(bar, "button", "👎", "Bad", () => tell({thumb: "down"}))
    add(bar, "button", "✎", "Edit", () => write("edit", "Edit", text))
    add(bar, "button", "💬", "Comment", () => write("comment", "Comment", ""))
    on.after(bar)
  }
  window.backtalk = {send, attach}
  addEventListener("load", () => document.querySelectorAll("[data-backtalk]").forEach(attach))
})()
