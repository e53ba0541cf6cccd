// Pages of somebody else can post here, too: a form needs no permission for that, and what the answer
// sets as cookies counts. `SameSite` keeps our cookies out of such a request, not new ones out of its
// answer, which could log a user in as somebody else. So nothing is done for other sites.
import { InvalidInputError } from "agentcore-client";

/** Browsers say where a request comes from, and pages can't change it; other programs say nothing. */
export function refuseOtherSites(request: Request): void {
  const from = request.headers.get("sec-fetch-site") ?? "same-origin";
  if (from === "same-origin") return;
  throw new InvalidInputError("origin: another site; must be a page of this server", {
    delivery: "not_sent",
    field: "origin",
  });
}
