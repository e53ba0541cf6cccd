"use client";

import { type FormEvent, useState } from "react";
import { errorIn } from "@/lib/events";

export function Login() {
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    setBusy(true);
    const body = JSON.stringify(Object.fromEntries(new FormData(event.currentTarget)));
    const response = await fetch("/api/login", { method: "POST", body }).catch(() => undefined);
    if (response?.ok) window.location.reload();
    else {
      const refused = response?.status === 401 ? "Wrong name or password." : undefined;
      setError(refused ?? errorIn((await response?.text()) ?? "").message);
      setBusy(false);
    }
  }

  return (
    <main>
      <form className="login" onSubmit={submit}>
        <h1>Log in</h1>
        <label>
          User name
          <input name="username" autoComplete="username" required />
        </label>
        <label>
          Password
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        {error !== undefined && (
          <p role="alert" className="error">
            {error}
          </p>
        )}
        <button type="submit" disabled={busy}>
          Log in
        </button>
      </form>
    </main>
  );
}
