import type { Metadata } from "next";
import Link from "next/link";
import type { ReactNode } from "react";
import "./globals.css";

export const metadata: Metadata = { title: "Chat with an agent" };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <header>
          <strong>Chat with an agent</strong>
          <nav aria-label="Pages">
            <Link href="/">Plain</Link>
            <Link href="/ai-sdk">AI SDK</Link>
          </nav>
        </header>
        {children}
      </body>
    </html>
  );
}
