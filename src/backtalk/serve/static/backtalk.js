(() => {
  const script = document.currentScript, base = new URL(script.src).origin
  const send = async (id, row, user, key = Date.now() + "-" + Math.random(), tries = 5) => {
    const headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    if (script.dataset.key) headers.Authorization = "Bearer " + script.dataset.key
    const body = JSON.stringify({interaction: id, user, ...row})
    try {
      const res = await fetch(base + "/v1/feedback", {method: "POST", keepalive: true, headers, body})
      if (res.ok) return res.json()
      if (res.status < 500 && res.status != 429) tries = 0
      throw Error(res.status)
    } catch (e) {
      if (tries < 2) throw e
      await new Promise(done => setTimeout(done, 1e3 * (6 - tries)))
      return send(id, row, user, key, tries - 1)
    }
  }
  const attach = item => {
    const {backtalk: id, user} = item.dataset, text = item.innerText
    const add = (to, tag, label, name, click) => {
      const node = to.appendChild(document.createElement(tag))
      node.textContent = label
      node.ariaLabel = node.title = name
      node.onclick = click
      return node
    }
    const bar = document.createElement("span")
    const post = row => send(id, row, user).then(
      () => bar.dataset.sent = 1, () => bar.dataset.failed = 1)
    const write = (kind, name, old) => {
      const box = add(bar, "div", "", name), area = add(box, "textarea", old, name)
      area.focus()
      add(box, "button", "✓", "Send", () => {
        if (area.value != old) post({[kind]: area.value})
        box.remove()
      })
    }
    add(bar, "button", "👍", "Good", () => post({thumb: "up"}))
    add(bar, "button", "👎", "Bad", () => post({thumb: "down"}))
    add(bar, "button", "✎", "Edit", () => write("edit", "Edit", text))
    add(bar, "button", "💬", "Comment", () => write("comment", "Comment", ""))
    item.after(bar)
  }
  window.backtalk = {send, attach}
  addEventListener("load", () => document.querySelectorAll("[data-backtalk]").forEach(attach))
})()
